import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { PRESENCE_TIMES } from '../../realtime/presence.ts'
import { Client, type Frame } from '../support/client.ts'
import { type Person, person, rest, writes } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

/** Of presence, so that nobody waits for long; what a server has is looked at by itself. */
const TIMES = { graceMs: 600, coalesceMs: 100 }

let server: TestServer
let ada: Person
let bob: Person
let eve: Person

beforeAll(async () => {
  server = await testServer({ presence: TIMES })
  ada = await person(server, 'ada')
  bob = await person(server, 'bob')
  eve = await person(server, 'eve')
})
afterAll(() => server.stop())

const on = (who: Person) => Client.connect(server.wsUrl, who.token)
const uuid = () => crypto.randomUUID()

/** Waits for an event of a type with this message id. */
const eventOf = (client: Client, type: string, id: unknown) =>
  client.wait((f) => f.type === type && (f.payload['id'] ?? f.payload['message_id']) === id)

async function failure(call: Promise<unknown>): Promise<string> {
  return await call.then(
    () => 'no failure',
    (error) => error.payload.code,
  )
}

describe('a message', () => {
  test('reaches all devices of both sides but the sending one, with all its fields', async () => {
    const [a1, a2, b1, b2] = await Promise.all([on(ada), on(ada), on(bob), on(bob)])
    const id = uuid()
    const ack = await a1.call('message', {
      recipient_id: bob.id,
      message_type: 'text',
      id,
      session_id: 'signal:1',
    })
    expect(ack.payload).toMatchObject({ id, sender_id: ada.id, delivered: 2, is_read: false })
    const events = await Promise.all([a2, b1, b2].map((c) => eventOf(c, 'message', id)))
    for (const event of events) {
      expect(event.payload).toEqual({
        id,
        conversation_id: expect.any(String),
        sender_id: ada.id,
        recipient_id: bob.id,
        message_type: 'text',
        timestamp: expect.stringMatching(/^\d{4}-.*\.\d{3}Z$/),
        session_id: 'signal:1',
        is_read: false,
      })
    }
    // The sending socket learns its offset from the ack, and gets no event.
    expect(ack.channel).toBe(`user:${ada.id}`)
    expect(ack.offset).toBe(events[0]?.offset as number)
    await Bun.sleep(50)
    expect(a1.events('message')).toEqual([])
    await Promise.all([a1, a2, b1, b2].map((c) => c.close()))
  })

  test('in Kisse’s words: fields that the server knows better are overwritten', async () => {
    const [a, b] = await Promise.all([on(ada), on(bob)])
    const id = uuid()
    a.send({
      type: 'message',
      payload: {
        id,
        sender_id: eve.id,
        recipient_id: bob.id,
        message_type: 'image',
        timestamp: '2024-01-01T00:00:00Z',
        session_id: 'string',
        is_read: true,
      },
    })
    const { payload } = await eventOf(b, 'message', id)
    expect(payload).toMatchObject({ sender_id: ada.id, is_read: false, message_type: 'image' })
    expect(payload['timestamp']).not.toStartWith('2024')
    await Promise.all([a.close(), b.close()])
  })

  test('with the same id is the same message, with other content a conflict', async () => {
    const [a, b] = await Promise.all([on(ada), on(bob)])
    const message = { recipient_id: bob.id, message_type: 'text', id: uuid() }
    const first = await a.ask('message', message)
    const again = await a.ask('message', message)
    expect(again).toEqual(first)
    expect(await failure(a.ask('message', { ...message, message_type: 'file' }))).toBe('conflict')
    expect(await failure(a.ask('message', { ...message, recipient_id: eve.id }))).toBe('conflict')
    // Fifty at once count once.
    const many = { recipient_id: bob.id, message_type: 'text', id: uuid() }
    const answers = await Promise.all(Array.from({ length: 50 }, () => a.ask('message', many)))
    expect(new Set(answers.map((x) => JSON.stringify(x))).size).toBe(1)
    await Bun.sleep(100)
    expect(b.events('message').filter(({ payload }) => payload['id'] === many.id).length).toBe(1)
    await Promise.all([a.close(), b.close()])
  })

  test('ids are the sender’s own: somebody else may use the same one', async () => {
    const [a, e] = await Promise.all([on(ada), on(eve)])
    const message = { recipient_id: bob.id, message_type: 'text', id: uuid() }
    await a.ask('message', message)
    expect(await e.ask('message', message)).toMatchObject({ sender_id: eve.id })
    await Promise.all([a.close(), e.close()])
  })

  test('with an idempotency key and no id counts once, also over REST', async () => {
    const [a, b] = await Promise.all([on(ada), on(bob)])
    const message = { recipient_id: bob.id, message_type: 'text' }
    const first = await a.call('message', message, { key: 'key-1' })
    const again = await a.call('message', message, { key: 'key-1' })
    expect(again.payload).toEqual(first.payload)
    const other = a.call('message', { ...message, message_type: 'file' }, { key: 'key-1' })
    expect(await failure(other)).toBe('idempotency_key_reused')
    const overRest = await rest(server, 'POST', '/api/v1/messages', {
      token: ada.token,
      body: message,
      headers: { 'Idempotency-Key': 'key-1' },
    })
    expect(overRest.body['id']).toBe(first.payload['id'])
    expect(overRest.headers.get('idempotent-replayed')).toBe('true')
    const id = first.payload['id']
    await eventOf(b, 'message', id)
    await Bun.sleep(100)
    expect(b.events('message').filter(({ payload }) => payload['id'] === id).length).toBe(1)
    await Promise.all([a.close(), b.close()])
  })

  test.each([
    ['content', { content: 'hello' }, 'validation_failed'],
    ['ciphertext', { ciphertext: 'c2VjcmV0' }, 'validation_failed'],
    ['an unknown type', { message_type: 'poem' }, 'validation_failed'],
    ['a session id with content', { session_id: 'two words' }, 'validation_failed'],
    ['a session id that is too long', { session_id: 'x'.repeat(65) }, 'validation_failed'],
    ['an id that is none', { id: 'not-a-uuid' }, 'validation_failed'],
    ['no recipient', { recipient_id: undefined }, 'validation_failed'],
    ['another conversation', { conversation_id: uuid() }, 'validation_failed'],
    ['nobody as recipient', { recipient_id: uuid() }, 'not_found'],
  ])('with %s is refused', async (_name, change, code) => {
    const a = await on(ada)
    const message = { recipient_id: bob.id, message_type: 'text', ...change }
    expect(await failure(a.ask('message', message))).toBe(code)
    await a.close()
  })

  test('to oneself is refused', async () => {
    const a = await on(ada)
    const message = { recipient_id: ada.id, message_type: 'text' }
    expect(await failure(a.ask('message', message))).toBe('validation_failed')
    await a.close()
  })

  test('missed during a cut is recovered, as it is now', async () => {
    const [a, b] = await Promise.all([on(ada), on(bob)])
    const { channel, epoch, offset } = b.position
    b.cut()
    const ids = [uuid(), uuid(), uuid()]
    for (const id of ids) await a.ask('message', { recipient_id: bob.id, message_type: 'text', id })
    const back = await on(bob)
    const read = await back.ask('read_receipt', { message_id: ids[0] })
    expect(read).toEqual({ read: 1 })
    const answer = await back.ask<{ recovered: boolean; publications: Frame[] }>('subscribe', {
      channel,
      recover: { epoch, offset },
    })
    expect(answer.recovered).toBe(true)
    const messages = answer.publications.filter(({ type }) => type === 'message')
    expect(messages.map(({ payload }) => payload['id'])).toEqual(ids)
    expect(messages.map(({ payload }) => payload['is_read'])).toEqual([true, false, false])
    await Promise.all([a.close(), back.close()])
  })
})

describe('receipts', () => {
  test('reach the sender and the reader’s other devices, once', async () => {
    const [a, b1, b2] = await Promise.all([on(ada), on(bob), on(bob)])
    const { id, conversation_id } = await a.ask('message', {
      recipient_id: bob.id,
      message_type: 'text',
    })
    expect(await b1.ask('read_receipt', { message_id: id })).toEqual({ read: 1 })
    expect(await b1.ask('read_receipt', { message_id: id })).toEqual({ read: 0 })
    const receipt = await eventOf(a, 'read_receipt', id)
    expect(receipt.payload).toMatchObject({ message_id: id, conversation_id, reader_id: bob.id })
    await eventOf(b2, 'read_receipt', id)
    await Bun.sleep(50)
    expect(a.events('read_receipt').filter((f) => f.payload['message_id'] === id).length).toBe(1)
    await Promise.all([a, b1, b2].map((c) => c.close()))
  })

  test('are the recipient’s alone to give', async () => {
    const [a, e] = await Promise.all([on(ada), on(eve)])
    const { id } = await a.ask('message', { recipient_id: bob.id, message_type: 'text' })
    expect(await failure(a.ask('read_receipt', { message_id: id }))).toBe('not_found')
    expect(await failure(e.ask('read_receipt', { message_id: id }))).toBe('not_found')
    expect(await failure(e.ask('read_receipt', {}))).toBe('validation_failed')
    await Promise.all([a.close(), e.close()])
  })

  test('of a conversation up to a message, and the unread count follows', async () => {
    const [zoe, yan] = [await person(server, 'zoe'), await person(server, 'yan')]
    const [z, y] = await Promise.all([on(zoe), on(yan)])
    const ids: unknown[] = []
    for (let n = 0; n < 5; n++) {
      const sent = await z.ask('message', { recipient_id: yan.id, message_type: 'text' })
      ids.push(sent['id'])
    }
    const list = async () => {
      const { body } = await rest(server, 'GET', '/api/conversations', { token: yan.token })
      return body['items'] as Record<string, unknown>[]
    }
    const [before] = await list()
    expect(before).toMatchObject({
      participant_id: zoe.id,
      unread_count: 5,
      last_message: null,
      participant_status: 'online',
    })
    const conversation_id = before?.['id']
    expect(await y.ask('read_receipt', { conversation_id, up_to: ids[2] })).toEqual({ read: 3 })
    expect((await list())[0]).toMatchObject({ unread_count: 2 })
    const path = `/api/v1/messages/${String(ids[4])}/read`
    const { status, body } = await rest(server, 'POST', path, { token: yan.token })
    expect([status, body]).toEqual([200, { read: 1 }])
    const receipts = await z.wait((f) => f.type === 'read_receipt' && f.payload['up_to'] === true)
    expect(receipts.payload['message_id']).toBe(ids[2])
    await Promise.all([z.close(), y.close()])
  })
})

describe('lists', () => {
  test('page through a conversation, newest first, without gaps', async () => {
    const [zoe, yan] = [await person(server, 'page'), await person(server, 'page')]
    const z = await on(zoe)
    const sent = await Promise.all(
      Array.from({ length: 25 }, () =>
        z.ask('message', { recipient_id: yan.id, message_type: 'text' }),
      ),
    )
    const conversation = sent[0]?.['conversation_id']
    const seen: unknown[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const query: string = cursor === '' ? '?limit=10' : `?limit=10&cursor=${cursor}`
      const path = `/api/v1/conversations/${String(conversation)}/messages${query}`
      const { body } = await rest(server, 'GET', path, { token: yan.token })
      seen.push(...body['items'].map((m: { id: string }) => m.id))
      cursor = body['next_cursor']
    }
    expect(seen).toEqual(sent.map(({ id }) => id).toReversed())
    for (const bad of ['nonsense', 'LTE', 'MS41']) {
      const path = `/api/v1/conversations/${String(conversation)}/messages?cursor=${bad}`
      expect((await rest(server, 'GET', path, { token: yan.token })).status).toBe(422)
      const list = `/api/v1/conversations?cursor=${bad}`
      expect((await rest(server, 'GET', list, { token: yan.token })).status).toBe(422)
    }
    const foreign = `/api/v1/conversations/${String(conversation)}/messages`
    expect((await rest(server, 'GET', foreign, { token: eve.token })).status).toBe(404)
    await z.close()
  })

  test('page through conversations, newest first', async () => {
    const hub = await person(server, 'hub')
    const h = await on(hub)
    const friends = await Promise.all(Array.from({ length: 7 }, () => person(server, 'friend')))
    for (const friend of friends) {
      await h.ask('message', { recipient_id: friend.id, message_type: 'text' })
      await Bun.sleep(2)
    }
    const first = await rest(server, 'GET', '/api/v1/conversations?limit=4', { token: hub.token })
    const path = `/api/v1/conversations?limit=4&cursor=${first.body['next_cursor']}`
    const second = await rest(server, 'GET', path, { token: hub.token })
    const ids = [...first.body['items'], ...second.body['items']].map((c) => c.participant_id)
    expect(ids).toEqual(friends.map(({ id }) => id).toReversed())
    expect(second.body['next_cursor']).toBeNull()
    await h.close()
  })
})

describe('typing and presence', () => {
  test('go to the other side only, with the user from the session', async () => {
    const [a, b, e] = await Promise.all([on(ada), on(bob), on(eve)])
    const { conversation_id } = await a.ask('message', {
      recipient_id: bob.id,
      message_type: 'text',
    })
    await a.ask('typing_indicator', { user_id: eve.id, conversation_id, is_typing: true })
    const typing = await b.wait(({ type }) => type === 'typing_indicator')
    expect(typing).toMatchObject({
      channel: `conversation:${String(conversation_id)}`,
      payload: { user_id: ada.id, conversation_id, is_typing: true },
    })
    expect(typing.offset).toBeUndefined()
    const foreign = e.ask('typing_indicator', { conversation_id, is_typing: true })
    expect(await failure(foreign)).toBe('not_found')
    const nobody = e.ask('typing_indicator', { conversation_id: uuid(), is_typing: true })
    expect(await failure(nobody)).toBe('not_found')
    expect(a.events('typing_indicator')).toEqual([])
    expect(e.events('typing_indicator')).toEqual([])
    await Promise.all([a, b, e].map((c) => c.close()))
  })

  test('a peer hears of coming, status, devices and going; a stranger hears nothing', async () => {
    const [cat, dan, eva] = await Promise.all(['cat', 'dan', 'eva'].map((n) => person(server, n)))
    if (!cat || !dan || !eva) throw new Error('nobody')
    const c = await on(cat)
    await writes(server, dan, cat)
    const stranger = await on(eva)
    const status = (client: Client, value: string) =>
      client.wait(
        (f) =>
          f.type === 'presence_update' &&
          f.payload['user_id'] === dan.id &&
          f.payload['status'] === value,
        9_000,
      )
    const d = await on(dan)
    await status(c, 'online')
    await c.wait((f) => f.type === 'device_online' && f.payload['user_id'] === dan.id)
    await d.ask('presence_update', { status: 'away' })
    await status(c, 'away')
    const { body } = await rest(server, 'GET', `/api/v1/users/${dan.id}/presence`, {
      token: cat.token,
    })
    expect(body).toMatchObject({ user_id: dan.id, status: 'away' })
    const hidden = await rest(server, 'GET', `/api/v1/users/${dan.id}/presence`, {
      token: eva.token,
    })
    expect(hidden.status).toBe(404)
    await d.close()
    const left = performance.now()
    await status(c, 'offline')
    expect(performance.now() - left).toBeGreaterThan(TIMES.graceMs - TIMES.coalesceMs)
    expect(stranger.events('presence_update')).toEqual([])
    const seen = await rest(server, 'GET', `/api/v1/users/${dan.id}/presence`, {
      token: cat.token,
    })
    expect(seen.body['status']).toBe('offline')
    expect(seen.body['last_seen']).toBeString()
    await Promise.all([c.close(), stranger.close()])
  }, 20_000)

  test('a quick reconnect causes no flicker', async () => {
    const [cat, dan] = [await person(server, 'cat'), await person(server, 'dan')]
    const c = await on(cat)
    await writes(server, dan, cat)
    const d = await on(dan)
    await c.wait((f) => f.type === 'presence_update' && f.payload['user_id'] === dan.id)
    d.cut()
    await Bun.sleep(TIMES.graceMs / 6)
    const back = await on(dan)
    await Bun.sleep(2 * TIMES.graceMs)
    const states = c.events('presence_update').map(({ payload }) => payload['status'])
    expect(states).toEqual(['online'])
    await Promise.all([c.close(), back.close()])
  }, 20_000)

  test('the grace of a server is 5 s, and changes of a second are told together', () => {
    expect(PRESENCE_TIMES).toEqual({ graceMs: 5_000, coalesceMs: 1_000 })
  })

  test('presence of a conversation', async () => {
    const [a, b] = await Promise.all([on(ada), on(bob)])
    const sent = await a.ask('message', { recipient_id: bob.id, message_type: 'text' })
    await writes(server, bob, ada)
    const channel = `conversation:${String(sent['conversation_id'])}`
    const { users } = await a.ask<{ users: unknown[] }>('presence', { channel })
    expect(users).toContainEqual({ user_id: bob.id, status: 'online', connections: 1 })
    expect(await a.ask('presence_stats', { channel })).toEqual({ users: 2, connections: 2 })
    await a.ask('subscribe', { channel })
    await Promise.all([a.close(), b.close()])
  })
})
