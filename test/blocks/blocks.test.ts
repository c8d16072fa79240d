import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Client, type Frame } from '../support/client.ts'
import { type Body, type Person, person, rest, writes } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** Two instances without Redis: what one does, the other learns from the database. */
let here: TestServer
let there: TestServer
beforeAll(async () => {
  here = await testServer()
  there = await testServer({ database: here.database })
})
afterAll(async () => {
  await there.stop()
  await here.stop()
})

/** What the protocol promises, and some slack for a machine that does other things. */
const WITHIN_MS = 1_000 + 1_000

const on = (who: Person, at = here) => Client.connect(at.wsUrl, who.token)
const block = (who: Person, whom: Person, at = here) =>
  rest(at, 'POST', `/api/v1/users/${whom.id}/block`, { token: who.token, body: {} })
const unblock = (who: Person, whom: Person, at = here) =>
  rest(at, 'DELETE', `/api/v1/users/${whom.id}/block`, { token: who.token })
const message = (to: Person) => ({ recipient_id: to.id, message_type: 'text' })
const send = (from: Person, to: Person, at = here) =>
  rest(at, 'POST', '/api/v1/messages', { token: from.token, body: message(to) })
const presence = async (of: Person, to: Person, at = here): Promise<Body> =>
  (await rest(at, 'GET', `/api/v1/users/${of.id}/presence`, { token: to.token })).body
const codeOf = (call: Promise<unknown>): Promise<string> =>
  call.then(
    () => 'ok',
    (error) => error.payload.code,
  )

let pairs = 0
/** Two people who have written to each other. */
async function friends(): Promise<{ ann: Person; bob: Person; conversation: string }> {
  pairs++
  const [ann, bob] = [await person(here, `ann${pairs}`), await person(here, `bob${pairs}`)]
  const { conversation_id: conversation } = await writes(here, ann, bob)
  await writes(here, bob, ann)
  return { ann, bob, conversation: String(conversation) }
}

describe('whoever is blocked', () => {
  test('cannot write, nor can who has blocked; the refusal does not say who has', async () => {
    const { ann, bob, conversation } = await friends()
    const blocked = await block(ann, bob)
    expect(blocked.status).toBe(200)
    expect(blocked.body).toMatchObject({ user_id: bob.id, blocked: true })
    const refused = await send(bob, ann)
    expect(refused.status).toBe(403)
    const own = await send(ann, bob)
    expect([own.status, own.body['code'], own.body['detail']]).toEqual([
      403,
      'forbidden',
      'You have blocked this person',
    ])
    // A closed account is refused in the very same words.
    const { ann: leaver, bob: left } = await friends()
    await rest(here, 'DELETE', '/api/v1/users/me', {
      token: leaver.token,
      body: { password: leaver.password },
    })
    const closed = await send(left, leaver)
    const said = ({ status, body }: typeof closed) => [status, body['code'], body['detail']]
    expect(said(refused)).toEqual(said(closed))
    // What was said stays, for both.
    for (const who of [ann, bob]) {
      const { body } = await rest(here, 'GET', '/api/v1/conversations', { token: who.token })
      expect(body['items'].map((item: Body) => item['id'])).toContain(conversation)
      const path = `/api/v1/conversations/${conversation}/messages`
      expect((await rest(here, 'GET', path, { token: who.token })).body['items'].length).toBe(2)
    }
    // And may be said again after it.
    expect((await unblock(ann, bob)).body).toEqual({ user_id: bob.id, blocked: false })
    expect([(await send(bob, ann)).status, (await send(ann, bob)).status]).toEqual([201, 201])
  })

  test('cannot begin a conversation either', async () => {
    const [ann, bob] = [await person(here, 'first'), await person(here, 'second')]
    await block(ann, bob)
    expect((await send(bob, ann)).body['detail']).toBe('This person cannot be reached')
    expect((await send(ann, bob)).body['detail']).toBe('You have blocked this person')
    const { body } = await rest(here, 'GET', '/api/v1/conversations', { token: bob.token })
    expect(body['items']).toEqual([])
    await unblock(ann, bob)
    expect((await send(bob, ann)).status).toBe(201)
  })

  test('fails alone: others of the same batch get through', async () => {
    const { ann, bob } = await friends()
    const cid = await person(here, 'cid')
    await block(ann, bob)
    const [b, c] = await Promise.all([on(bob), on(cid)])
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        codeOf((i % 2 === 0 ? b : c).ask('message', message(ann))),
      ),
    )
    expect(outcomes.filter((_, i) => i % 2 === 0).every((code) => code === 'forbidden')).toBe(true)
    expect(outcomes.filter((_, i) => i % 2 === 1).every((code) => code === 'ok')).toBe(true)
    await Promise.all([b.close(), c.close()])
  })

  test('on one instance is refused on another within a second, and let in again', async () => {
    const { ann, bob } = await friends()
    // There it is remembered that they may.
    expect((await send(bob, ann, there)).status).toBe(201)
    await block(ann, bob, here)
    // Here at once.
    expect((await send(bob, ann, here)).status).toBe(403)
    await until(
      async () => (await send(bob, ann, there)).status === 403,
      'refused there',
      WITHIN_MS,
    )
    await unblock(ann, bob, here)
    await until(async () => (await send(bob, ann, there)).status === 201, 'again', WITHIN_MS)
  })

  test('of a closed account is everybody, on every instance', async () => {
    const { ann, bob } = await friends()
    expect((await send(bob, ann, there)).status).toBe(201)
    await rest(here, 'DELETE', '/api/v1/users/me', {
      token: ann.token,
      body: { password: ann.password },
    })
    expect((await send(bob, ann, here)).status).toBe(403)
    await until(async () => (await send(bob, ann, there)).status === 403, 'refused', WITHIN_MS)
  })
})

describe('between two of whom one has blocked the other', () => {
  test('nobody sees the other typing', async () => {
    const { ann, bob, conversation } = await friends()
    const [a, b] = await Promise.all([on(ann), on(bob, there)])
    await until(() => here.kernel.presence.connections(bob.id) > 0, 'bob is known here')
    await until(() => there.kernel.presence.connections(ann.id) > 0, 'ann is known there')
    const type = (who: Client) =>
      who.ask('typing_indicator', { conversation_id: conversation, is_typing: true })
    await type(a)
    await b.wait(({ type: name }) => name === 'typing_indicator')
    await type(b)
    await a.wait(({ type: name }) => name === 'typing_indicator')
    await block(ann, bob)
    // Until the other instance knows.
    await until(async () => (await send(bob, ann, there)).status === 403, 'known', WITHIN_MS)
    const seen = () => [a, b].map((who) => who.events('typing_indicator').length)
    const before = seen()
    // Whoever types is not told.
    await Promise.all([type(a), type(b)])
    await Bun.sleep(200)
    expect(seen()).toEqual(before)
    await unblock(ann, bob)
    await until(async () => (await send(bob, ann, there)).status === 201, 'known', WITHIN_MS)
    await Promise.all([type(a), type(b)])
    await until(() => seen().every((n, i) => n > (before[i] ?? 0)), 'typing is seen again')
    await Promise.all([a.close(), b.close()])
  })

  test('nobody is told that the other has read, then or later', async () => {
    const { ann, bob, conversation } = await friends()
    const [a, b] = await Promise.all([on(ann), on(bob)])
    const sent = (await send(bob, ann)).body
    await block(ann, bob)
    const position = b.position
    const read = { conversation_id: conversation, up_to: sent['id'] }
    const { read: count } = await a.ask<{ read: number }>('read_receipt', read)
    expect(count).toBeGreaterThan(0)
    const path = `/api/v1/conversations/${conversation}/messages`
    const readStates = async (who: Person) => {
      const { body } = await rest(here, 'GET', path, { token: who.token })
      const own = (body['items'] as Body[]).filter((item) => item['sender_id'] === bob.id)
      return [...new Set(own.map((item) => item['is_read']))]
    }
    // Ann knows what she has read; bob does not.
    expect(await readStates(ann)).toEqual([true])
    expect(await readStates(bob)).toEqual([false])
    const { body: list } = await rest(here, 'GET', '/api/v1/conversations', { token: ann.token })
    expect(list['items'][0]['unread_count']).toBe(0)
    await unblock(ann, bob)
    expect(await readStates(bob)).toEqual([false])
    // Nor do the streams say so, in which each has their own copy.
    const recovered = async (who: Client, since: typeof position) => {
      const { channel } = since
      const { publications } = await who.ask<{ publications: Frame[] }>('history', {
        channel,
        limit: 100,
      })
      return publications.filter(
        ({ type, payload }) => type === 'message' && payload['id'] === sent['id'],
      )
    }
    expect((await recovered(b, position)).map(({ payload }) => payload['is_read'])).toEqual([false])
    expect((await recovered(a, a.position)).map(({ payload }) => payload['is_read'])).toEqual([
      true,
    ])
    expect(b.events('read_receipt')).toEqual([])
    // The control: what is read afterwards is told.
    const next = (await send(bob, ann)).body
    await a.ask('read_receipt', { message_id: next['id'] })
    await b.wait((f) => f.type === 'read_receipt' && f.payload['message_id'] === next['id'])
    await Promise.all([a.close(), b.close()])
  })

  test('both appear to be offline to each other, at once and by every way of asking', async () => {
    const { ann, bob, conversation } = await friends()
    const [a, b] = await Promise.all([on(ann), on(bob, there)])
    await until(async () => (await presence(bob, ann))['status'] === 'online', 'bob is seen')
    await until(async () => (await presence(ann, bob, there))['status'] === 'online', 'ann is')
    const heard = (who: Client, of: Person, status: string) =>
      who.wait(
        (f) =>
          f.type === 'presence_update' &&
          f.payload['user_id'] === of.id &&
          f.payload['status'] === status,
        5_000,
      )
    await block(ann, bob)
    const [last] = await Promise.all([heard(b, ann, 'offline'), heard(a, bob, 'offline')])
    // When she was last seen would tell the moment of the block.
    expect(last.payload['last_seen']).toBeNull()
    const offline = { status: 'offline', last_seen: null }
    await until(async () => (await presence(ann, bob, there))['status'] === 'offline', 'there too')
    expect(await presence(ann, bob, there)).toMatchObject(offline)
    expect(await presence(bob, ann)).toMatchObject(offline)
    const channel = `conversation:${conversation}`
    const { users } = await b.ask<{ users: Body[] }>('presence', { channel })
    expect(users.find((u) => u['user_id'] === ann.id)).toMatchObject({
      status: 'offline',
      connections: 0,
    })
    expect(await b.ask('presence_stats', { channel })).toMatchObject({ users: 1 })
    const { body } = await rest(there, 'GET', '/api/v1/conversations', { token: bob.token })
    expect(body['items'][0]['participant_status']).toBe('offline')
    // Coming and going is told no more.
    const frames = b.frames.length
    await a.ask('presence_update', { status: 'busy' })
    await Bun.sleep(1_500)
    const told = b.frames.slice(frames).filter(({ payload }) => payload['user_id'] === ann.id)
    expect(told).toEqual([])
    await unblock(ann, bob)
    await heard(b, ann, 'busy')
    await Promise.all([a.close(), b.close()])
  }, 20_000)
})

describe('presence', () => {
  test('is not shown to somebody whom one has never answered', async () => {
    const [star, fan] = [await person(here, 'star'), await person(here, 'fan')]
    const [s, f] = await Promise.all([on(star), on(fan)])
    const conversation = String((await writes(here, fan, star))['conversation_id'])
    const channel = `conversation:${conversation}`
    const seen = async () => {
      const { users } = await f.ask<{ users: Body[] }>('presence', { channel })
      const { body } = await rest(here, 'GET', '/api/v1/conversations', { token: fan.token })
      return [
        (await presence(star, fan))['status'],
        users.find((u) => u['user_id'] === star.id)?.['status'],
        body['items'][0]['participant_status'],
      ]
    }
    expect(await seen()).toEqual(['offline', 'offline', 'offline'])
    await s.ask('presence_update', { status: 'away' })
    await Bun.sleep(1_500)
    expect(f.events('presence_update')).toEqual([])
    // Who writes first shows themself.
    expect((await presence(fan, star))['status']).toBe('online')
    // The control: an answer is consent.
    await writes(here, star, fan)
    expect(await seen()).toEqual(['away', 'away', 'away'])
    await s.ask('presence_update', { status: 'busy' })
    await f.wait(({ type, payload }) => type === 'presence_update' && payload['status'] === 'busy')
    await Promise.all([s.close(), f.close()])
  })

  test('is shown after an answer on another instance', async () => {
    const [ann, bob] = [await person(here, 'ann'), await person(here, 'bob')]
    await writes(here, ann, bob)
    const b = await on(bob)
    // Remembered there while bob had not answered.
    expect((await presence(bob, ann, there))['status']).toBe('offline')
    await writes(here, bob, ann)
    await until(async () => (await presence(bob, ann, there))['status'] === 'online', 'seen', 5_000)
    await b.close()
  })
})

describe('the list of blocks', () => {
  test('is one’s own, newest first, in pages that join; twice is once', async () => {
    const ann = await person(here, 'lister')
    const others = []
    for (let i = 0; i < 5; i++) others.push(await person(here, `other${i}`))
    const since: string[] = []
    for (const other of others) since.push((await block(ann, other)).body['blocked_at'])
    expect((await block(ann, others[0] as Person)).body['blocked_at']).toBe(since[0] as string)
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const query = `limit=2${cursor === null ? '' : `&cursor=${cursor}`}`
      const { body } = await rest(here, 'GET', `/api/v1/blocks?${query}`, { token: ann.token })
      for (const item of body['items'] as Body[]) seen.push(item['user_id'])
      cursor = body['next_cursor'] as string | null
    } while (cursor !== null)
    expect(seen).toEqual(others.map(({ id }) => id).toReversed())
    const [victim] = others
    const theirs = await rest(here, 'GET', '/api/v1/blocks', { token: victim?.token ?? '' })
    expect(theirs.body['items']).toEqual([])
  })

  test('takes nobody, oneself, or who has left', async () => {
    const ann = await person(here, 'ann')
    const gone = await person(here, 'gone')
    await rest(here, 'DELETE', '/api/v1/users/me', {
      token: gone.token,
      body: { password: gone.password },
    })
    const nobody = { ...gone, id: crypto.randomUUID() }
    expect((await block(ann, ann)).status).toBe(422)
    expect((await block(ann, gone)).status).toBe(404)
    expect((await block(ann, nobody)).status).toBe(404)
    expect((await block(ann, { ...gone, id: 'nobody' })).status).toBe(422)
    // Unblocking says nothing of who there is.
    expect((await unblock(ann, nobody)).body).toEqual({ user_id: nobody.id, blocked: false })
    const { body } = await rest(here, 'GET', '/api/v1/blocks?cursor=x', { token: ann.token })
    expect(body['code']).toBe('validation_failed')
  })
})
