import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Authenticator } from '../../src/auth/index.ts'
import { input, t, Uuid } from '../../src/base/schema.ts'
import { features } from '../../src/features.ts'
import { ROLES, user } from '../../src/kernel/access.ts'
import { channel } from '../../src/kernel/channel.ts'
import { createRegistry, feature } from '../../src/kernel/feature.ts'
import { operation } from '../../src/kernel/operation.ts'
import { serviceChannel } from '../../src/kernel/service-event.ts'
import { funds } from '../support/books.ts'
import { Client, type Frame } from '../support/client.ts'
import { giveFactor } from '../support/factor.ts'
import { device, type Person, person, rest, writes } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import {
  attackChannel,
  attackOperation,
  attackCommand,
  byRest,
  bySocket,
  type Scene,
  uncovered,
} from './attack.ts'
import type { Belongings } from './attempt.ts'
import { ATTEMPTS, CHANNEL_COMMANDS, CHANNELS, COMMAND_ATTEMPTS } from './attempts.ts'

/** The control: what somebody might write in a hurry. */
const leakySession = operation('leaky.session', {
  summary: 'A session, whosever it is',
  rest: 'GET /leaky/:session_id',
  access: user(),
  limit: 'read',
  input: input({ session_id: Uuid }),
  output: t.Object({ found: t.Unknown() }),
  async run({ kernel }, { session_id }) {
    const [found] = await kernel.db.sql`
      select s.user_agent, u.email from sessions s join users u on u.id = s.user_id
      where s.id = ${session_id}`
    return { found: found ?? null }
  },
})
const leakyChannel = channel('diary', {
  description: 'Open to all by mistake',
  recovery: 'stream',
  mayRead: () => true,
})
const leakyFeature = feature({
  name: 'leaky',
  operations: [leakySession],
  channels: [leakyChannel],
})

const { operations, channels, events } = createRegistry(features)
const USER_AGENT = 'AlicesDevice/7.3'
let server: TestServer
let scene: Scene
let alice: Person
let carol: Person

const on = (who: { token: string }, at = server) => Client.connect(at.wsUrl, who.token)
const encode = (text: string) => Buffer.from(text).toString('base64url')

beforeAll(async () => {
  server = await testServer({
    features: [...features, leakyFeature],
    // Every attempt is an error; this is not about how many are borne with.
    gatewayLimits: { errorsPerMinuteMax: 1e6 },
  })
  carol = await person(server, 'carol')
  const bob = await person(server, 'bob')
  const secrets = await makeAlice()
  const [a, c] = await Promise.all([on(alice), on(carol)])
  const send = (from: Client, to: Person) =>
    from.ask<{ id: string; conversation_id: string }>('message', {
      recipient_id: to.id,
      message_type: 'text',
    })
  const sent = await send(a, carol)
  const received = await send(c, alice)
  const mine = await send(c, bob)
  await Promise.all([a.close(), c.close()])
  scene = {
    server,
    hers: {
      ...secrets,
      conversationId: sent.conversation_id,
      sentId: sent.id,
      messageId: received.id,
      conversationCursor: encode(`2099-01-01T00:00:00.000Z ${sent.conversation_id}`),
      messageCursor: encode('999999999'),
    },
    nobodys: nobody(secrets.refreshToken),
    me: {
      userId: bob.id,
      conversationId: mine.conversation_id,
      messageId: mine.id,
      friendId: carol.id,
    },
    token: bob.token,
    client: await on(bob),
    async disposable() {
      const mallory = await person(server, 'mallory')
      return { token: mallory.token, client: await on(mallory) }
    },
  }
})
afterAll(() => server.stop())

/** Alice, with values in every private field that nobody else has. */
async function makeAlice() {
  alice = await person(server, 'alice')
  const { body: login } = await rest(server, 'POST', '/api/v1/auth/login', {
    body: { email: alice.email, password: alice.password },
    headers: { 'User-Agent': USER_AGENT },
  })
  alice = { ...alice, token: login.token, refreshToken: login.refresh_token }
  const iban = 'DE89370400440532013000'
  await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: alice.id }, 12_345n)
  const { body: payout } = await rest(server, 'POST', '/api/v1/payouts', {
    token: alice.token,
    body: { amount: '54.32', iban, name: 'Alice of the Tests' },
  })
  const timeZone = 'Antarctica/Troll'
  const { body: account } = await rest(server, 'PUT', '/api/v1/users/me', {
    token: alice.token,
    body: { time_zone: timeZone },
  })
  return {
    userId: alice.id,
    email: alice.email,
    username: account.username as string,
    timeZone,
    userAgent: USER_AGENT,
    token: alice.token,
    refreshToken: alice.refreshToken,
    sessionId: login.session_id as string,
    payoutId: payout.id as string,
    iban,
    exportId: await copyOfHerData(),
    ...(await factorThings()),
  }
}

async function copyOfHerData(): Promise<string> {
  const { token } = alice
  const { body } = await rest(server, 'POST', '/api/v1/privacy/export', { token, body: {} })
  return body['id'] as string
}

/** A device of hers, and a challenge of a call that she has not confirmed. */
async function factorThings() {
  const { db } = server.kernel
  const [newest] = await db.sql`
    select id from devices where user_id = ${alice.id} order by id desc limit 1`
  await giveFactor(server.kernel, alice.id)
  const { body } = await rest(server, 'POST', '/api/v1/auth/mfa/disable', {
    token: alice.token,
    body: {},
  })
  await db.sql`delete from second_factors where user_id = ${alice.id}`
  return { deviceId: newest.id as string, challenge: body.challenge as string }
}

function nobody(refreshToken: string): Belongings {
  const id = () => crypto.randomUUID()
  return {
    userId: id(),
    email: 'nobody@example.org',
    username: 'nobody-at-all',
    timeZone: 'Europe/Paris',
    userAgent: 'none',
    token: 'none',
    refreshToken: `${refreshToken.slice(1)}A`,
    sessionId: id(),
    deviceId: id(),
    challenge: 'none',
    conversationId: id(),
    exportId: id(),
    messageId: id(),
    sentId: id(),
    conversationCursor: encode(`2099-01-01T00:00:00.000Z ${id()}`),
    messageCursor: encode('1'),
    payoutId: id(),
    iban: 'FR1420041010050500013M02606',
  }
}

/** What belongs to alice, as she sees it: must be the same after all attempts. */
async function herView() {
  const get = async (path: string) => {
    const { status, body } = await rest(server, 'GET', path, { token: alice.token })
    return { path, status, body }
  }
  return await Promise.all(
    [
      '/api/v1/users/me',
      '/api/v1/auth/sessions',
      '/api/v1/conversations',
      `/api/v1/conversations/${scene.hers.conversationId}/messages`,
      '/api/v1/users/me/presence',
      '/api/v1/wallet/balances',
      '/api/v1/wallet/statement?asset=EUR',
      '/api/v1/payouts',
    ].map(get),
  )
}
const withoutClock = (view: unknown) =>
  JSON.stringify(view).replaceAll(/"(last_used_at|last_seen)":"[^"]*"/g, '')

test('every operation, channel and command has a row, and no row is of nothing', () => {
  expect(uncovered(features)).toEqual([])
})

describe('another user’s things', () => {
  let before: unknown
  beforeAll(async () => {
    before = await herView()
  })

  test.each([...operations.keys()])('by %s are out of reach', async (name) => {
    const op = operations.get(name)
    if (op === undefined) throw new Error('gone')
    expect(await attackOperation(scene, op, ATTEMPTS[name] ?? [])).toEqual([])
  })

  test.each([...channels.keys()])('on channels %s: are out of reach', async (namespace) => {
    const ids = CHANNELS[namespace] ?? (() => [])
    expect(await attackChannel(scene, namespace, ids)).toEqual([])
  })

  test.each(Object.keys(COMMAND_ATTEMPTS))(
    'by the command %s are out of reach',
    async (command) => {
      expect(await attackCommand(scene, command, COMMAND_ATTEMPTS[command] ?? [])).toEqual([])
    },
  )

  test('named in body or query cannot replace who is named in the path', async () => {
    const { hers, token } = scene
    const { userId: mine } = scene.me
    const { status, body } = await rest(server, 'PUT', `/api/v1/users/${mine}`, {
      token,
      body: { user_id: hers.userId, userId: hers.userId, name: 'Bob' },
    })
    expect([status, body.id, body.name]).toEqual([200, mine, 'Bob'])
    const path = `/api/v1/users/${mine}/presence?user_id=${hers.userId}`
    const presence = await rest(server, 'GET', path, { token })
    expect(presence.body).toMatchObject({ user_id: mine })
  })

  test('under another user’s idempotency key are no answer', async () => {
    const { hers, token } = scene
    const headers = { 'Idempotency-Key': 'alice-and-bob-chose-the-same' }
    const body = { recipient_id: carol.id, message_type: 'text' }
    const first = await rest(server, 'POST', '/api/v1/messages', {
      token: alice.token,
      body,
      headers,
    })
    const second = await rest(server, 'POST', '/api/v1/messages', { token, body, headers })
    expect(second.headers.get('idempotent-replayed')).toBeNull()
    expect(second.body.id).not.toBe(first.body.id)
    expect(JSON.stringify(second.body)).not.toContain(hers.conversationId)
    before = await herView()
  })

  test('are as they were', async () => {
    expect(withoutClock(await herView())).toBe(withoutClock(before))
  })
})

describe('without a token', () => {
  let stranger: Client
  beforeAll(async () => {
    stranger = await Client.open(server.wsUrl)
  })
  afterAll(() => stranger.close())

  const closed = [...operations.values()].filter(({ access }) => access.kind === 'user')
  test.each(closed.map((op) => [op.name, op] as const))('%s is refused', async (name, op) => {
    const given = ATTEMPTS[name]?.map((attempt) => attempt.input(scene.hers, scene.me)) ?? []
    const codes = new Set<string | undefined>()
    for (const value of given) {
      for (const route of op.routes) {
        for (const token of [undefined, 'nonsense', `${scene.token}x`]) {
          const result = await byRest(server, route, '/api/v1', value, token)
          if (result !== undefined) codes.add(result.code)
        }
      }
      if (op.socket) codes.add((await bySocket(stranger, name, value)).code)
    }
    expect([...codes]).toEqual(['unauthenticated'])
  })

  test.each(Object.keys(CHANNEL_COMMANDS))('the command %s is refused', async (command) => {
    const own = await Client.open(server.wsUrl)
    const value = { channel: `user:${alice.id}` }
    expect((await bySocket(own, command, value)).code).toBe('unauthenticated')
    await own.close()
  })
})

test('operations of a role are refused to everybody without it', async () => {
  const authenticator = server.kernel.use(Authenticator)
  const guarded = [...operations.values()].filter(
    ({ access }) => access.kind === 'user' && access.roles !== undefined,
  )
  expect(guarded.length).toBeGreaterThan(0)
  for (const op of guarded) {
    const needed = op.access.kind === 'user' ? (op.access.roles ?? []) : []
    const { token } = await authenticator.issue({
      userId: scene.me.userId,
      sessionId: crypto.randomUUID(),
      roles: ROLES.filter((role) => !needed.includes(role)),
      sessionEndsMs: server.kernel.clock.now() + 60_000,
    })
    const client = await on({ token })
    for (const attempt of ATTEMPTS[op.name] ?? []) {
      const value = attempt.input(scene.hers, scene.me)
      const results = await Promise.all(
        op.routes.map((route) => byRest(server, route, '/api/v1', value, token)),
      )
      if (op.socket) results.push(await bySocket(client, op.name, value))
      expect(results.map((result) => result?.code)).toEqual(results.map(() => 'forbidden'))
    }
    await client.close()
  }
})

describe('events', () => {
  test('of a user reach those concerned, and nobody else on any instance', async () => {
    const other = await testServer({
      database: server.database,
      features: [...features, leakyFeature],
    })
    const stranger = await person(server, 'stranger')
    const ears = await Promise.all([on(stranger), on(stranger, other)])
    const c = await on(carol, other)
    const [a1, a2] = await Promise.all([on(alice), on(alice, other)])
    const sent = await a1.ask('message', { recipient_id: carol.id, message_type: 'text' })
    const conversation_id = String(sent['conversation_id'])
    const back = await c.ask('message', { recipient_id: alice.id, message_type: 'image' })
    await a2.ask('read_receipt', { message_id: back['id'] })
    await c.ask('read_receipt', { conversation_id, up_to: sent['id'] })
    for (const client of [a1, a2, c]) {
      await client.ask('typing_indicator', { conversation_id, is_typing: true })
    }
    await a1.ask('presence_update', { status: 'away' })
    await a1.ask('subscribe', { channel: `conversation:${conversation_id}` })
    await a2.ask('auth.update_profile', { name: 'Alice Again' })
    await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: carol.id }, 100n)
    await c.ask('payouts.request', {
      amount: '1',
      iban: scene.hers.iban,
      name: 'Carol',
    })
    const gone = await device(server, alice)
    await rest(server, 'POST', '/api/v1/auth/logout', { token: gone.token, body: {} })
    const { email, password } = alice
    const elsewhere = { body: { email, password }, headers: { 'User-Agent': 'Elsewhere/1' } }
    await rest(server, 'POST', '/api/v1/auth/login', elsewhere)
    await Promise.all(
      [a1, a2].map((client) => client.wait(({ type }) => type === 'security_notice')),
    )
    // Presence is told once a second: what has undone itself by then is not told at all.
    const ofAlice = ({ payload }: Frame) => payload['user_id'] === alice.id
    await c.wait((frame) => frame.type === 'device_online' && ofAlice(frame))
    await Promise.all([a1.close(), a2.close()])
    await c.wait((frame) => ofAlice(frame) && frame.payload['status'] === 'offline', 10_000)
    // The control: what concerns the stranger does reach these sockets.
    const direct = await c.ask('message', { recipient_id: stranger.id, message_type: 'text' })
    await Promise.all(ears.map((ear) => ear.wait(({ payload }) => payload['id'] === direct['id'])))
    const heard = ears.map((ear) =>
      ear.frames
        .filter(({ type, payload }) => type !== 'connected' && payload['id'] !== direct['id'])
        // Having written, carol is a peer.
        .filter(({ payload }) => payload['user_id'] !== carol.id),
    )
    expect(heard).toEqual([[], []])
    // Everything that can be told to users was told, to whom it concerns.
    const told = new Set([...a1.frames, ...c.frames].map(({ type }) => type))
    const tellable = events.filter(({ channel }) => channel !== serviceChannel)
    expect(tellable.map(({ type }) => type).filter((type) => !told.has(type))).toEqual([])
    await Promise.all([...ears, c].map((client) => client.close()))
    await other.stop()
  }, 30_000)
})

test('somebody who appears to be offline looks like somebody who is', async () => {
  const [zoe, yan] = [await person(server, 'zoe'), await person(server, 'yan')]
  const [z, y] = await Promise.all([on(zoe), on(yan)])
  const sent = await writes(server, yan, zoe)
  const channel = `conversation:${String(sent['conversation_id'])}`
  const look = async () => {
    const { status, last_seen } = await z.ask('presence.get', { user_id: yan.id })
    const stats = await z.ask('presence_stats', { channel })
    const { users } = await z.ask<{ users: { user_id: string }[] }>('presence', { channel })
    const { body } = await rest(server, 'GET', '/api/v1/conversations', { token: zoe.token })
    const listed = body['items'][0].participant_status
    return { status, last_seen, stats, listed, of: users.find((u) => u.user_id === yan.id) }
  }
  const hears = (status: string) =>
    z.wait((f) => f.type === 'presence_update' && f.payload['status'] === status)
  await hears('online')
  const before = await look()
  expect(before).toMatchObject({ status: 'online', stats: { connections: 2 }, listed: 'online' })
  await y.ask('presence_update', { status: 'offline' })
  await hears('offline')
  const hidden = await look()
  await Bun.sleep(20)
  // Also when asked again: "last seen just now" would say it too.
  expect(await look()).toEqual(hidden)
  expect(hidden).toMatchObject({ status: 'offline', stats: { connections: 1 }, listed: 'offline' })
  expect(hidden.of).toMatchObject({ connections: 0 })
  await Promise.all([z.close(), y.close()])
})

describe('the controls', () => {
  test('an operation and a channel without a row are named', () => {
    expect(uncovered([...features, leakyFeature])).toEqual([
      'operation leaky.session: no row',
      'channel diary: no row',
    ])
  })

  test('an operation that leaks is caught', async () => {
    const findings = await attackOperation(scene, leakySession, [
      { input: ({ sessionId }) => ({ session_id: sessionId }), expect: 'not_found' },
    ])
    const by = (way: string, what: string) => expect.stringContaining(`by ${way}: ${what}`)
    const rest = 'GET /api/v1/leaky/:session_id'
    expect(findings).toEqual(
      expect.arrayContaining([
        by(rest, 'ok instead of not_found'),
        by(rest, 'shows her email'),
        by(rest, 'shows her userAgent'),
        by('socket', 'shows her email'),
      ]),
    )
  })

  test('a channel open to all is caught', async () => {
    const findings = await attackChannel(scene, 'diary', ({ userId }) => [userId])
    expect(findings).toContain('subscribe by socket: ok instead of not_found')
    expect(findings).toContain('history by socket: ok instead of not_found')
  })
})
