import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { features } from '../../src/features.ts'
import { Client } from '../support/client.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { labFeature } from '../support/lab.ts'
import { rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { type Stranger, strangers } from '../support/tokens.ts'

/** A request counts once, however often and wherever it arrives. */

const AT_ONCE = 50
const SOCKETS = 8

let database: TestDatabase
let servers: TestServer[]
let ada: Stranger
let sockets: Client[]

const start = () => testServer({ features: [...features, labFeature], database })

beforeAll(async () => {
  database = await testDatabase()
  servers = [await start(), await start()]
  ada = (await strangers(servers[0] as TestServer, 1))[0] as Stranger
  sockets = await Promise.all(
    Array.from({ length: SOCKETS }, (_, n) => Client.connect(at(n).wsUrl, ada.token)),
  )
})
afterAll(async () => {
  await Promise.all(sockets.map((client) => client.close()))
  for (const server of servers) await server.stop()
  await database.drop()
})

const at = (n: number) => servers[n % servers.length] as TestServer

/** What one caller got, over whichever edge. */
interface Got {
  readonly ok: boolean
  readonly code: string
  readonly retryable: boolean
  readonly replayed: boolean
  readonly output: string
}

const ROUTES: Readonly<Record<string, string>> = {
  'lab.note': '/api/v1/lab/notes',
  'lab.note_fast': '/api/v1/lab/fast',
}

async function bySocket(n: number, operation: string, key: string, body: object): Promise<Got> {
  const client = sockets[n % SOCKETS] as Client
  try {
    const frame = await client.call(operation, body, { key })
    const { replayed = false } = frame as { replayed?: boolean }
    return { ok: true, code: '', retryable: false, replayed, output: JSON.stringify(frame.payload) }
  } catch (error) {
    const { code, retryable } = (error as { payload: { code: string; retryable: boolean } }).payload
    return { ok: false, code, retryable, replayed: false, output: '' }
  }
}

async function byRest(n: number, operation: string, key: string, body: object): Promise<Got> {
  const {
    status,
    body: answer,
    headers,
  } = await rest(at(n), 'POST', ROUTES[operation] ?? '', {
    token: ada.token,
    body,
    headers: { 'Idempotency-Key': key },
  })
  const ok = status < 300
  return {
    ok,
    code: ok ? '' : String(answer['code']),
    retryable: headers.has('Retry-After'),
    replayed: headers.get('Idempotent-Replayed') === 'true',
    output: ok ? JSON.stringify(answer) : '',
  }
}

/** A third by socket, the rest by REST, both instances in turn. */
const call = (n: number, operation: string, key: string, body: object) =>
  n % 3 === 0 ? bySocket(n, operation, key, body) : byRest(n, operation, key, body)

/** How often something was noted: on the stream, or on its way there. */
async function effects(on: string): Promise<number> {
  const [row] = await database.db.sql`
    select (select count(*) from outbox where channel = ${`lab:${on}`})::int
      + (select count(*) from stream_events e join stream_heads h on h.id = e.head
         where h.channel = ${`lab:${on}`})::int as n`
  return row.n as number
}

describe.each(['lab.note', 'lab.note_fast'])('the same key of %s', (operation) => {
  const on = operation.replaceAll(/[._]/g, '-')
  const key = () => crypto.randomUUID()

  test('fifty times at once, over both edges and instances, counts once', async () => {
    const [one, body] = [key(), { on: `${on}-once`, text: 'x' }]
    const all = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, n) => call(n, operation, one, body)),
    )
    expect(await effects(body.on)).toBe(1)
    // Identical answers, all but one of them said to be replayed; or told to come again.
    const answered = all.filter(({ ok }) => ok)
    expect(new Set(answered.map(({ output }) => output)).size).toBe(1)
    expect(answered.filter(({ replayed }) => !replayed).length).toBe(1)
    for (const { ok, code, retryable } of all) {
      if (!ok) expect({ code, retryable }).toEqual({ code: 'request_in_progress', retryable: true })
    }
  })

  test('with another body is refused, over either edge', async () => {
    const [one, body] = [key(), { on: `${on}-changed`, text: 'x' }]
    expect((await call(1, operation, one, body)).ok).toBe(true)
    for (const n of [0, 1, 2]) {
      const { code } = await call(n, operation, one, { ...body, text: 'y' })
      expect(code).toBe('idempotency_key_reused')
    }
    expect(await effects(body.on)).toBe(1)
  })

  test('is somebody else’s own', async () => {
    const [one, body] = [key(), { on: `${on}-other`, text: 'x' }]
    await call(0, operation, one, body)
    const [other] = await strangers(at(0), 1)
    const { headers } = await rest(at(0), 'POST', ROUTES[operation] ?? '', {
      token: other?.token ?? '',
      body,
      headers: { 'Idempotency-Key': one },
    })
    expect(headers.has('Idempotent-Replayed')).toBe(false)
    expect(await effects(body.on)).toBe(2)
  })

  test('of a request that failed does it anew', async () => {
    const [one, body] = [key(), { on: `${on}-failed`, text: 'fail' }]
    for (const n of [0, 1, 2]) {
      expect(await call(n, operation, one, body)).toMatchObject({
        code: 'conflict',
        replayed: false,
      })
    }
    const good = await call(0, operation, one, { ...body, text: 'good' })
    expect(good).toMatchObject({ ok: true, replayed: false })
    expect(await effects(body.on)).toBe(1)
  })

  test('is remembered when the server has restarted', async () => {
    const [one, body] = [key(), { on: `${on}-restart`, text: 'x' }]
    const passing = await start()
    servers.push(passing)
    const first = await byRest(2, operation, one, body)
    servers.pop()
    await passing.stop()
    servers.push(await start())
    const again = await byRest(2, operation, one, body)
    await servers.pop()?.stop()
    expect(again).toMatchObject({ ok: true, replayed: true, output: first.output })
    expect(await effects(body.on)).toBe(1)
  })
})

describe('while the first request is slow', () => {
  test('a second waits five seconds, then is told to come again; nobody else waits', async () => {
    const [one, on] = [crypto.randomUUID(), 'slow']
    const body = { on, text: 'x', stall_ms: 6_500 }
    const first = byRest(0, 'lab.note', one, body)
    await Bun.sleep(100)
    const startMs = performance.now()
    // More of them than the server has connections to its database.
    const waiting = Array.from({ length: 60 }, (_, n) => byRest(2 * n, 'lab.note', one, body))
    const others: number[] = []
    for (let n = 0; n < 20; n++) {
      const sentMs = performance.now()
      await byRest(2 * n, 'lab.note', crypto.randomUUID(), { on: 'others', text: `${n}` })
      others.push(performance.now() - sentMs)
    }
    const second = await Promise.all(waiting)
    const waitedMs = performance.now() - startMs
    for (const { code, retryable } of second) {
      expect({ code, retryable }).toEqual({ code: 'request_in_progress', retryable: true })
    }
    expect(waitedMs).toBeGreaterThan(4_500)
    expect(waitedMs).toBeLessThan(6_400)
    expect(Math.max(...others)).toBeLessThan(2_500)
    const { output } = await first
    expect(await byRest(1, 'lab.note', one, body)).toMatchObject({ replayed: true, output })
    expect(await effects(on)).toBe(1)
  }, 30_000)
})

describe('control', () => {
  test('who looks first and writes down afterwards acts more than once', async () => {
    const { db } = database
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        const found = await db.sql`select from outbox where channel = 'naive:1'`
        if (found.length > 0) return
        // What lies between looking and writing takes its time.
        await Bun.sleep(20)
        await db.sql`insert into outbox (channel, kind) values ('naive:1', 1)`
      }),
    )
    const [row] = await db.sql`select count(*)::int as n from outbox where channel = 'naive:1'`
    await db.sql`delete from outbox where channel = 'naive:1'`
    expect(row.n).toBeGreaterThan(1)
  })
})
