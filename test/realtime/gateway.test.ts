import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createAccessTokens } from '../../src/auth/sessions/tokens.ts'
import { features } from '../../src/features.ts'
import { Client } from '../support/client.ts'
import { labFeature } from '../support/lab.ts'
import { device, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

let server: TestServer
let ada: Person

beforeAll(async () => {
  server = await testServer({ features: [...features, labFeature] })
  ada = await person(server, 'ada')
})
afterAll(() => server.stop())

describe('opening a socket', () => {
  test('with ?token=, and the first frame says where one stands', async () => {
    const client = await Client.connect(server.wsUrl, ada.token)
    expect(client.frames[0]).toMatchObject({
      type: 'connected',
      payload: {
        user_id: ada.id,
        heartbeat_ms: 25_000,
        subscriptions: [{ channel: `user:${ada.id}`, offset: expect.any(Number) }],
      },
    })
    await client.close()
  })

  test('on /ws/chat as well', async () => {
    const client = await Client.connect(`${server.wsUrl}/chat`, ada.token)
    expect(client.frames[0]?.type).toBe('connected')
    await client.close()
  })

  test('with a subprotocol, which is answered', async () => {
    const client = await Client.open(server.wsUrl, ['rialto.v1', `bearer.${ada.token}`])
    await client.wait(({ type }) => type === 'connected')
    expect(client.socket.protocol).toBe('rialto.v1')
    await client.close()
  })

  test('with a ticket, once', async () => {
    const { body } = await rest(server, 'POST', '/api/v1/auth/ticket', { token: ada.token })
    const client = await Client.open(`${server.wsUrl}?ticket=${body['ticket']}`)
    await client.wait(({ type }) => type === 'connected')
    await client.close()
    expect(Client.open(`${server.wsUrl}?ticket=${body['ticket']}`)).rejects.toThrow()
  })

  test('with a first frame', async () => {
    const client = await Client.open(server.wsUrl)
    expect(client.call('lab.quick')).rejects.toThrow('unauthenticated')
    for (const type of ['ping', 'heartbeat']) {
      client.send({ type, id: type })
      expect((await client.wait(({ id }) => id === type)).type).toBe('pong')
    }
    const ack = await client.call('authenticate', { token: ada.token })
    expect(ack.payload).toMatchObject({ user_id: ada.id })
    expect(client.frames.map(({ type }) => type)).toContain('connected')
    expect(await client.ask('lab.quick', { tag: 'x' })).toEqual({ tag: 'x' })
    await client.close()
  })

  test.each([
    ['a bad token', '?token=nonsense', 401],
    ['an unknown ticket', '?ticket=nonsense', 401],
    ['broken percent-encoding', '?token=%E0%A4%A', 400],
  ])('is refused with %s before it is a socket', async (_name, query, status) => {
    const url = `${server.url}/ws${query}`
    const headers = {
      Upgrade: 'websocket',
      Connection: 'Upgrade',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'Sec-WebSocket-Version': '13',
    }
    const response = await fetch(url, { headers })
    expect(response.status).toBe(status)
    expect(response.headers.get('content-type')).toBe('application/problem+json')
  })

  test('is refused to a page of a foreign origin, and a plain GET is told to upgrade', async () => {
    const url = `${server.url}/ws?token=${ada.token}`
    const foreign = await fetch(url, { headers: { Origin: 'https://evil.example' } })
    expect(foreign.status).toBe(403)
    const plain = await fetch(url)
    expect(plain.status).toBe(426)
  })

  test('without saying who one is ends after the time for it', async () => {
    const strict = await testServer({
      database: server.database,
      gatewayLimits: { authenticateMs: 200 },
    })
    try {
      const client = await Client.open(strict.wsUrl)
      expect(await client.whenClose()).toMatchObject({ code: 4501 })
    } finally {
      await strict.stop()
    }
  })

  test('beyond ten of one user is refused with 4504, and the others live on', async () => {
    const bob = await person(server, 'bob')
    const clients = await Promise.all(
      Array.from({ length: 10 }, () => Client.connect(server.wsUrl, bob.token)),
    )
    const eleventh = await Client.open(`${server.wsUrl}?token=${bob.token}`)
    expect(await eleventh.whenClose()).toMatchObject({ code: 4504 })
    expect(await clients[0]?.ask('lab.quick', { tag: 'a' })).toEqual({ tag: 'a' })
    await Promise.all(clients.map((client) => client.close()))
  })
})

describe('frames', () => {
  let client: Client
  beforeAll(async () => {
    client = await Client.connect(server.wsUrl, (await person(server, 'frames')).token)
  })
  afterAll(() => client.close())

  test('of one socket are answered in order, fast ones behind slow ones', async () => {
    const before = client.frames.length
    const tags = ['a', 'b', 'c', 'd', 'e']
    const calls = tags.flatMap((tag, n) => [
      client.call('lab.slow', { ms: 20 - 4 * n, tag }),
      client.call('lab.quick', { tag: tag.toUpperCase() }),
    ])
    await Promise.all(calls)
    const answers = client.frames.slice(before).map(({ payload }) => payload['tag'])
    expect(answers).toEqual(['a', 'A', 'b', 'B', 'c', 'C', 'd', 'D', 'e', 'E'])
  })

  test('of a batch operation too, with refused ones in their place', async () => {
    const before = client.frames.length
    const texts = ['1', '2', 'fail', '3', 'fail', '4']
    const calls = texts.map((text) => client.call('lab.note_fast', { on: 'order', text }))
    const wrong = client.call('lab.note_fast', { on: 'NOT A NAME', text: 'x' })
    await Promise.allSettled([...calls, wrong])
    const answers = client.frames
      .slice(before)
      .filter(({ id }) => id !== undefined)
      .map(({ payload }) => payload['text'] ?? payload['code'])
    expect(answers).toEqual(['1', '2', 'conflict', '3', 'conflict', '4', 'validation_failed'])
  })

  test.each([
    ['no JSON', 'hello', 'bad_frame'],
    ['an array', '[]', 'bad_frame'],
    ['a number', '7', 'bad_frame'],
    ['null', 'null', 'bad_frame'],
    ['no type', '{"payload":{}}', 'bad_frame'],
    ['a type that is no text', '{"type":7}', 'bad_frame'],
    ['an unknown type', '{"type":"nonsense"}', 'unknown_operation'],
    ['a name of Object', '{"type":"constructor"}', 'unknown_operation'],
    ['__proto__', '{"type":"__proto__"}', 'unknown_operation'],
    ['an empty id', '{"type":"lab.quick","id":""}', 'bad_frame'],
    ['an id that is too long', `{"type":"lab.quick","id":"${'x'.repeat(65)}"}`, 'bad_frame'],
    ['a payload that is no object', '{"type":"lab.quick","payload":3}', 'bad_frame'],
    ['an array as payload', '{"type":"lab.quick","payload":[]}', 'validation_failed'],
    ['an unknown field', '{"type":"lab.quick","payload":{"nonsense":1}}', 'validation_failed'],
    ['subscribe without a channel', '{"type":"subscribe"}', 'validation_failed'],
  ])('with %s are answered with an error, and the socket lives', async (_name, text, code) => {
    const own = await Client.connect(server.wsUrl, (await person(server, 'bad')).token)
    own.send(text)
    const error = await own.wait(({ type }) => type === 'error')
    expect(error.payload['code']).toBe(code)
    expect(await own.ask('lab.quick', { tag: 'alive' })).toEqual({ tag: 'alive' })
    await own.close()
  })

  test('that are binary close with 4500', async () => {
    const own = await Client.connect(server.wsUrl, ada.token)
    own.socket.send(new Uint8Array([1, 2, 3]))
    expect(await own.whenClose()).toMatchObject({ code: 4500 })
  })

  test('that are too big close the socket and harm nobody else', async () => {
    const own = await Client.connect(server.wsUrl, ada.token)
    own.send(`{"type":"lab.quick","payload":{"tag":"${'x'.repeat(70_000)}"}}`)
    expect([1006, 1009]).toContain((await own.whenClose()).code)
    expect(await client.ask('lab.quick', { tag: 'here' })).toEqual({ tag: 'here' })
  })

  test('that are wrong more than twenty times a minute close with 4505', async () => {
    const own = await Client.connect(server.wsUrl, ada.token)
    for (let n = 0; n < 21; n++) own.send('nonsense')
    expect(await own.whenClose()).toMatchObject({ code: 4505 })
    expect(own.events('error').length).toBe(21)
  })

  test('refused by a rule of the domain do not count as wrong', async () => {
    for (let n = 0; n < 30; n++) {
      expect(client.call('lab.note_fast', { on: 'order', text: 'fail' })).rejects.toThrow(
        'conflict',
      )
    }
    expect(await client.ask('lab.quick', { tag: 'alive' })).toEqual({ tag: 'alive' })
  })

  test('ping and heartbeat are always answered', async () => {
    const own = await Client.connect(server.wsUrl, ada.token)
    own.send({ type: 'ping' })
    await own.wait(({ type }) => type === 'pong')
    own.send({ type: 'heartbeat', id: 'h1' })
    const pong = await own.wait(({ id }) => id === 'h1')
    expect(pong.payload['server_time']).toBeString()
    await own.close()
  })

  test('errors of our own making show no text of theirs', async () => {
    const failure = client.call('lab.note', { on: 'x', text: 'crash' })
    await expect(failure).rejects.toThrow('internal')
    await expect(failure).rejects.not.toThrow('secret')
  })
})

describe('a live socket', () => {
  test('takes a fresh token, but not somebody else’s', async () => {
    const client = await Client.connect(server.wsUrl, ada.token)
    const again = await device(server, ada)
    const ack = await client.call('authenticate', { token: again.token })
    expect(ack.payload['user_id']).toBe(ada.id)
    const other = await person(server, 'other')
    expect(client.call('authenticate', { token: other.token })).rejects.toThrow('forbidden')
    await client.close()
  })

  test('closes with 4501 within a second of its token’s end', async () => {
    const { config, clock } = server.kernel
    const sessionId = crypto.randomUUID()
    const brief = createAccessTokens({ secrets: config.jwt.secrets, accessTtlMs: 2_000, clock })
    const sessionEndsMs = clock.now() + 60_000
    const subject = { userId: ada.id, sessionId, roles: ['user'] as const, sessionEndsMs }
    const { token, expiresAtMs } = await brief.sign(subject)
    const client = await Client.connect(server.wsUrl, token)
    expect(await client.whenClose()).toMatchObject({ code: 4501 })
    expect(clock.now() - expiresAtMs).toBeLessThan(1_000)
  })

  test('closes with 4502 when its session is revoked; others of the user stay', async () => {
    const here = await device(server, ada)
    const there = await device(server, ada)
    const one = await Client.connect(server.wsUrl, here.token)
    const two = await Client.connect(server.wsUrl, there.token)
    const left = performance.now()
    await rest(server, 'POST', '/api/v1/auth/logout', { token: here.token, body: {} })
    expect(await one.whenClose()).toMatchObject({ code: 4502 })
    expect(performance.now() - left).toBeLessThan(1_500)
    expect(await two.ask('lab.quick', { tag: 'alive' })).toEqual({ tag: 'alive' })
    const { status } = await rest(server, 'GET', '/api/v1/auth/me', { token: here.token })
    expect(status).toBe(401)
    await two.close()
  })

  test('is told to go away when the server stops, and running calls are answered', async () => {
    const leaving = await testServer({
      features: [...features, labFeature],
      database: server.database,
    })
    const client = await Client.connect(leaving.wsUrl, ada.token)
    const running = client.ask('lab.slow', { ms: 300, tag: 'done' })
    await Bun.sleep(50)
    const stopped = leaving.stop()
    expect(await running).toEqual({ tag: 'done' })
    expect(await client.whenClose()).toMatchObject({ code: 1001 })
    await stopped
  })
})

describe('rates', () => {
  test('above the limit are refused with the time to wait', async () => {
    const limits = (await import('../../src/kernel/limits.ts')).LIMITS
    const strict = await testServer({
      env: { RATE_LIMITS: 'on' },
      features: [...features, labFeature],
      limits: { ...limits, ephemeral: { burst: 3, perSecond: 1, why: 'this test' } },
    })
    try {
      const client = await Client.connect(strict.wsUrl, (await person(strict)).token)
      for (let n = 0; n < 3; n++) await client.ask('lab.quick')
      const refused = await client.call('lab.quick').catch((error) => error)
      expect(refused.payload).toMatchObject({ code: 'rate_limited', retryable: true })
      expect(refused.payload.retry_after_ms).toBeGreaterThan(0)
    } finally {
      await strict.stop()
    }
  })
})
