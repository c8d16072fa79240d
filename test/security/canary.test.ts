import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SQL } from 'bun'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../db/embedded.ts'
import { Authenticator } from '../../src/auth/index.ts'
import { systemClock } from '../../src/base/clock.ts'
import { features } from '../../src/features.ts'
import { createLogger } from '../../src/observe/log.ts'
import { type RunningServer, startServer } from '../../src/server.ts'
import { Client } from '../support/client.ts'
import { rest } from '../support/people.ts'
import { generousLimits, testConfig } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { CRASHES, crashFeature } from './canary-crash.ts'
import {
  pushOverAddresses,
  pushOverConnections,
  pushOverRest,
  pushOverSocket,
  type Target,
} from './canary-push.ts'
import { Canary, filesBelow, type Find, findIn } from './canary.ts'
import { type RecordingRedis, startRecordingRedis } from './recording-redis.ts'

/**
 * The server is blind to content: marked ciphertext and keys are pushed in wherever a client can
 * push anything, then everything that the server has written anywhere is searched for them.
 */

interface Instance extends RunningServer {
  readonly url: string
  readonly wsUrl: string
  readonly stdout: string[]
}

interface Account {
  readonly id: string
  readonly token: string
}

const canary = new Canary()
const mark = (place: string) => canary.at(place)
/** What is stored because it is meant to be: found by the same search. */
const visible = `vsbl${canary.core.slice(4)}`
const requestId = `rqst${canary.core.slice(4)}`

const folder = mkdtempSync(join(tmpdir(), 'rialto-canary-'))
const answers: string[] = []
/** Texts that clients hold and the server must not keep in clear. */
const secrets: [name: string, text: string][] = []
/** What was written, by where; files are added when everything has stopped. */
const written: [where: string, bytes: Buffer][] = []
let postgres: EmbeddedPostgres
let redis: RecordingRedis
let instances: Instance[]
let ada: Account
let bob: Account

async function startInstance(name: string): Promise<Instance> {
  const config = testConfig(
    {
      PORT: '0',
      DATABASE_URL: postgres.ownerUrl,
      REDIS_URL: redis.url,
      RATE_LIMITS: 'off',
      LOG_LEVEL: 'debug',
      LOG_DIR: join(folder, `log-${name}`),
    },
    folder,
  )
  const stdout: string[] = []
  const write = (line: string) => void stdout.push(line)
  const server = await startServer({
    config,
    log: createLogger({ ...config.log, clock: systemClock, write }),
    features: [...features, crashFeature],
    limits: generousLimits,
    gatewayLimits: { errorsPerMinuteMax: Number.POSITIVE_INFINITY, connectionsPerUserMax: 100 },
  })
  const at = `127.0.0.1:${server.port}`
  return { ...server, stdout, url: `http://${at}`, wsUrl: `ws://${at}/ws` }
}

const [a, b] = [0, 1].map((n) => () => instances[n] as Instance) as [() => Instance, () => Instance]

/** With a token whose session no call can end: some of what is pushed in means signing out. */
async function targetOf(server: Instance, who: Account, recipientId: string): Promise<Target> {
  const { token } = await server.kernel.use(Authenticator).issue({
    userId: who.id,
    sessionId: crypto.randomUUID(),
    roles: ['user'],
    sessionEndsMs: systemClock.now() + 600_000,
  })
  return { server, token, mark, answers, recipientId }
}

beforeAll(async () => {
  postgres = await startEmbeddedPostgres({
    dataDir: join(folder, 'postgres'),
    // Compressed, the log of the database could not be searched.
    settings: { fsync: 'off', wal_compression: 'off' },
  })
  redis = startRecordingRedis()
  instances = [await startInstance('a'), await startInstance('b')]
})
afterAll(async () => {
  // Again, in case that a test has failed before it came to stopping them.
  for (const instance of instances) await instance.stop()
  await postgres.stop()
  redis.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** Signs up and in, keeping every secret that comes of it. */
async function signUp(name: string, username?: string): Promise<Account> {
  const password = mark(`password of ${name}`)
  const email = `${name}@example.org`
  const post = async (path: string, body: object, token?: string) => {
    const answer = await rest(a(), 'POST', `/api/v1/auth/${path}`, {
      body,
      ...(token === undefined ? {} : { token }),
    })
    for (const field of ['token', 'refresh_token', 'ticket']) {
      const text = answer.body[field] as string | undefined
      // Of an access token the signature: the rest is as good as public without it.
      if (text !== undefined) secrets.push([field, text.split('.').at(-1) as string])
    }
    return answer.body
  }
  await post('register', { email, password, ...(username === undefined ? {} : { username }) })
  await post('login', { email, password: mark(`wrong password of ${name}`) })
  await post('login', { email: mark('login address'), password })
  const { token, refresh_token, user } = await post('login', { email, password })
  const next = await post('refresh', { refresh_token })
  await post('refresh', { refresh_token: canary.core.padEnd(43, 'x') })
  await post('ticket', {}, token)
  const { ticket } = await post('ticket', {}, next.token)
  await (await Client.open(`${a().wsUrl}?ticket=${ticket}`)).close()
  return { id: user.id, token: next.token }
}

describe('pushed in', () => {
  test('by passwords, tokens and tickets', async () => {
    ada = await signUp('ada', visible)
    bob = await signUp('bob')
    expect(secrets.length).toBe(16)
  })

  test('by every route of every operation', async () => {
    const target = await targetOf(a(), ada, bob.id)
    for (const operation of a().registry.operations.values()) {
      await pushOverRest(target, operation)
    }
  })

  test('by addresses that do not exist', async () => {
    await pushOverAddresses(await targetOf(a(), ada, bob.id))
  })

  test('by frames of every operation and command', async () => {
    await pushOverSocket(await targetOf(a(), ada, bob.id))
    await pushOverSocket(await targetOf(b(), bob, ada.id))
  })

  test('by ways in and out of a socket', async () => {
    await pushOverConnections(await targetOf(a(), ada, bob.id))
  })

  test('by operations that crash on them', async () => {
    const client = await Client.connect(a().wsUrl, ada.token)
    for (const how of CRASHES) {
      const body = { how, text: mark(`crash ${how}`) }
      const headers = { 'Idempotency-Key': mark(`key of crash ${how}`) }
      const { token } = ada
      const answer = await rest(a(), 'POST', '/api/v1/canary/crash', { token, body, headers })
      expect(answer.status).toBe(500)
      answers.push(JSON.stringify(answer.body))
      const frame = await client.call('canary.crash', body).catch((error) => error.payload)
      expect(frame.code).toBe('internal')
      answers.push(JSON.stringify(frame))
    }
    await client.close()
  })

  test('beside what is meant to pass, from one instance to the other', async () => {
    const [one, other] = await Promise.all([
      Client.connect(a().wsUrl, ada.token),
      Client.connect(b().wsUrl, bob.token),
    ])
    await until(() => a().kernel.presence.connections(bob.id) > 0, 'instance a knows of bob')
    const message = await one.ask('message', { recipient_id: bob.id, message_type: 'text' })
    const { conversation_id, id } = message
    const typing = { conversation_id, is_typing: true, user_id: mark('typing user') }
    await one.ask('typing_indicator', typing)
    await other.wait(({ type }) => type === 'typing_indicator')
    await other.ask('read_receipt', { message_id: id })
    await one.wait(({ type }) => type === 'read_receipt')
    await rest(a(), 'GET', '/api/v1/users/me', {
      token: ada.token,
      headers: { 'X-Request-Id': requestId },
    })
    for (const client of [one, other]) {
      answers.push(...client.frames.map((frame) => JSON.stringify(frame)))
      await client.close()
    }
    expect(redis.published()).toBeGreaterThan(0)
  })
})

describe('searched for', () => {
  beforeAll(async () => {
    for (const [n, { url }] of instances.entries()) {
      const metrics = await (await fetch(`${url}/metrics`)).bytes()
      written.push([`metrics of instance ${n}`, Buffer.from(metrics)])
    }
    written.push(['rows of the database', await rows()])
    for (const [n, instance] of instances.entries()) {
      await instance.stop()
      await instance.kernel.log.flush()
      written.push([`standard output of instance ${n}`, Buffer.from(instance.stdout.join(''))])
    }
    written.push(['what Redis was told', redis.received()])
    // Stopping writes everything that was still in memory.
    await postgres.stop()
    for (const [path, bytes] of filesBelow(folder)) written.push([path, bytes])
  })

  test('the marks are nowhere', () => {
    const finds = written.flatMap(([where, bytes]) => findIn(where, bytes, canary.core))
    expect(finds.map(({ where, around }) => [where, canary.placesIn(around), around])).toEqual([])
  })

  test('tokens, refresh tokens and tickets are nowhere', () => {
    const finds = written.flatMap(([where, bytes]) =>
      secrets.flatMap(([name, text]): Find[] => findIn(`${name}: ${where}`, bytes, text)),
    )
    expect(finds).toEqual([])
  })

  test('values that were refused are not repeated to those who sent them', () => {
    const repeated = canary.placesIn(answers.join('\n'))
    const documented = /^(id of a frame|unknown type|field name in a|channel of unsubscribe)/
    expect(repeated.filter((place) => !documented.test(place))).toEqual([])
    expect(answers.length).toBeGreaterThan(500)
  })

  test('the control: what is meant to be kept is found in the same places', () => {
    const places = (text: string) =>
      written.flatMap(([where, bytes]) => findIn(where, bytes, text)).map(({ where }) => where)
    const name = places(visible).join('\n')
    expect(name).toContain('rows of the database')
    expect(name).toMatch(/pg_wal/)
    expect(name).toMatch(/\/base\/\d+\/\d+/)
    const logs = places(requestId).join('\n')
    expect(logs).toContain('combined.log')
    expect(logs).toContain('standard output')
    expect(places(bob.id).join('\n')).toContain('what Redis was told')
    expect(places('canary.crash').join('\n')).toContain('metrics')
    expect(places('canary.crash').join('\n')).toContain('error.log')
  })

  test('the control: disguises are seen through', () => {
    const { core } = canary
    const bytes = Buffer.from(core)
    for (const disguise of [
      `"${core}"`,
      bytes.toString('hex'),
      ...['', 'x', 'xy'].map((before) => btoa(`${before}${core} and more`)),
      Buffer.from(core, 'utf16le').toString('latin1'),
    ]) {
      expect(findIn('here', Buffer.from(disguise, 'latin1'), core)).not.toEqual([])
    }
  })
})

/** Every row of every table as text: values that the files hold compressed are not, here. */
async function rows(): Promise<Buffer> {
  const sql = new SQL({ url: postgres.ownerUrl, max: 1 })
  try {
    const tables = await sql`select quote_ident(tablename) as name from pg_tables
      where schemaname = 'public'`
    const texts: string[] = []
    for (const { name } of tables) {
      const found = await sql.unsafe(`select t::text as row from ${name} t`)
      texts.push(...found.map(({ row }: { row: string }) => row))
    }
    expect(tables.length).toBeGreaterThan(8)
    return Buffer.from(texts.join('\n'))
  } finally {
    await sql.close()
  }
}
