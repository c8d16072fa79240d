import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { uuidv7 } from '../../src/base/ids.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { tellServices } from '../../src/kernel/service-event.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { auditTrail } from '../support/audit.ts'
import { administrator, type Person } from '../support/people.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { isGenuine, type Receiver, startReceiver } from './receiver.ts'
import {
  happened,
  later,
  lettersOf,
  makeService,
  type Service,
  tell,
  untilDeliveries,
  webhookServer,
} from './setup.ts'

/** Events on their way to services, between two real servers. */

let server: TestServer
let admin: Person
let service: Service
let receiver: Receiver
const more: Receiver[] = []
beforeAll(async () => {
  server = await webhookServer()
  admin = await administrator(server)
  service = await makeService(server, admin.id)
})
afterAll(() => server.stop())

const another = async () => {
  const made = await startReceiver()
  more.push(made)
  return made
}
async function endpoint(options: object = {}) {
  receiver = await another()
  return await service.create({ url: receiver.url, events: ['test.happened'], ...options })
}
afterEach(async () => {
  for (const { id } of (await service.call('GET')).body['items']) {
    await service.call('DELETE', `/${id}`)
  }
  for (const one of more.splice(0)) await one.stop()
})

const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, n) => from + n)
const ns = (one: Receiver) => one.received.map(({ body }) => body.data.n as number)

describe('an event', () => {
  test('arrives signed, as Standard Webhooks says', async () => {
    const { id, secret, webhook } = await endpoint()
    await tell(server, [7])
    const [message] = await receiver.wait(1)
    expect(isGenuine(secret, message!)).toBe(true)
    // The control: the library does refuse.
    const forged = { ...message!, text: message!.text.replace('"n":7', '"n":8') }
    expect(isGenuine(secret, forged)).toBe(false)
    const messageId = message!.id
    expect(message!.headers).toMatchObject({
      'content-type': 'application/json',
      'webhook-id': expect.stringMatching(/^msg_[0-9a-f]{8}_\d+$/),
      'webhook-timestamp': expect.stringMatching(/^\d{10}$/),
      'webhook-signature': expect.stringMatching(/^v1,[A-Za-z0-9+/]{43}=$/),
    })
    expect(message!.headers['user-agent']).toMatch(/^Rialto\/\d/)
    expect(message!.body).toEqual({
      type: 'test.happened',
      timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
      epoch: webhook['epoch'],
      offset: expect.any(Number),
      data: { n: 7 },
    })
    const [delivery] = await untilDeliveries(service, id, ([d]) => d?.state !== 'pending', 'done')
    expect(delivery).toMatchObject({
      state: 'delivered',
      message_id: messageId,
      attempts: 1,
      status: 204,
      error: null,
      due_at: null,
    })
  })

  test('of a transaction that fails is never told', async () => {
    await endpoint()
    const who = { actor: null, request: internalRequest(uuidv7()) }
    const failing = unitOfWork(server.kernel, who, async ({ emit, clock }) => {
      emit(tellServices(happened, clock, { n: 1 }))
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await tell(server, [2])
    await receiver.wait(1)
    expect(ns(receiver)).toEqual([2])
  })

  test('is told to whom it concerns, in order, once', async () => {
    const mine = await endpoint()
    const [all, others] = [await another(), await another()]
    await service.create({ url: all.url })
    await service.create({ url: others.url, events: ['test.other'] })
    for (const n of numbers(20)) await tell(server, numbers(5, n * 10))
    await tell(server, [1000], 'test.other')
    const expected = numbers(20).flatMap((n) => numbers(5, n * 10))
    await receiver.wait(100)
    await all.wait(101)
    await others.wait(1)
    expect(ns(receiver)).toEqual(expected)
    expect(ns(all)).toEqual([...expected, 1000])
    expect(ns(others)).toEqual([1000])
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(100)
    expect((await service.get(mine.id))['behind']).toBeLessThanOrEqual(1)
  })

  test('with data that are not its own is a bug that is found at once', () => {
    const wrong = () => tellServices(happened, server.kernel.clock, { n: 'one' } as never)
    expect(wrong).toThrow('not the data of test.happened')
  })
})

describe('a receiver that fails', () => {
  test('gets the same message again, signed anew, after 5 s and then 5 min', async () => {
    const { id, secret } = await endpoint()
    receiver.reply({ status: 500, body: 'database is away\u0000' })
    await tell(server, [1])
    await receiver.wait(1)
    const [first] = await untilDeliveries(service, id, ([d]) => d?.attempts === 1, 'noted')
    expect(first).toMatchObject({
      state: 'pending',
      status: 500,
      error: 'status: answered 500',
      answer: 'database is away',
    })
    expect(waitOf(first!)).toBeWithin(4_400, 5_600)
    await later(server, 6_000)
    await receiver.wait(2)
    const [second] = await untilDeliveries(service, id, ([d]) => d?.attempts === 2, 'noted')
    expect(waitOf(second!)).toBeWithin(269_000, 331_000)
    receiver.reply(200)
    await later(server, 331_000)
    const messages = await receiver.wait(3)
    expect(new Set(messages.map((message) => message.id)).size).toBe(1)
    expect(new Set(messages.map((message) => message.text)).size).toBe(1)
    expect(messages.every((message) => isGenuine(secret, message))).toBe(true)
    const done = await untilDeliveries(service, id, ([d]) => d?.state === 'delivered', 'done')
    expect(done[0]).toMatchObject({ attempts: 3, status: 200, error: null })
    expect(await service.get(id)).toMatchObject({ failing_since: null })
  })

  test('ten times has failed for good, and may be asked for', async () => {
    const { id } = await endpoint()
    receiver.reply(503)
    await tell(server, [1])
    for (const attempts of numbers(9)) {
      await untilDeliveries(service, id, ([d]) => d?.attempts === attempts, `attempt ${attempts}`)
      await server.kernel.db.sql`update webhook_endpoints set failing_since = now()`
      await later(server, 30 * 3_600_000)
    }
    const [dead] = await untilDeliveries(service, id, ([d]) => d?.state === 'failed', 'given up')
    expect(dead).toMatchObject({ attempts: 10, due_at: null, status: 503 })
    receiver.reply(200)
    await later(server, 30 * 3_600_000)
    const path = `/${id}/deliveries/${dead!['id']}/retry`
    expect((await service.call('POST', path)).body).toMatchObject({ state: 'pending' })
    await untilDeliveries(service, id, ([d]) => d?.state === 'delivered', 'delivered')
    expect(receiver.received).toHaveLength(11)
  })

  test('with one event holds up no other', async () => {
    const { id } = await endpoint()
    receiver.reply(({ body }) => (body.data.n === 2 ? 500 : 200))
    await tell(server, [1, 2, 3, 4])
    await receiver.wait(4)
    expect(ns(receiver)).toEqual([1, 2, 3, 4])
    receiver.reply(200)
    await untilDeliveries(service, id, (all) => all.every((d) => d['attempts'] === 1), 'noted')
    await later(server, 6_000)
    await receiver.wait(5)
    expect(ns(receiver)).toEqual([1, 2, 3, 4, 2])
  })

  test('is left alone for a while after five failures, and what waits is not used up', async () => {
    const { id } = await endpoint()
    await receiver.stop()
    await tell(server, numbers(50))
    await until(async () => {
      const [row] = await server.kernel.db.sql`
        select not_before > now() as quiet from webhook_endpoints where id = ${id}`
      return row.quiet === true
    }, 'it is left alone')
    const waiting = await service.deliveries(id)
    expect(waiting.filter((d) => d['attempts'] > 0).length).toBeWithin(5, 8)
    expect(waiting.at(-1)).toMatchObject({ error: expect.stringMatching(/^unreachable: /) })
    expect(await service.get(id)).toMatchObject({ failing_since: expect.any(String) })
    await receiver.start()
    await later(server, 400_000)
    await receiver.wait(50)
    expect(new Set(ns(receiver)).size).toBe(50)
  })

  test('and asks to wait (429, Retry-After) is not asked before', async () => {
    const { id } = await endpoint()
    receiver.reply({ status: 429, headers: { 'Retry-After': '3600' } })
    await tell(server, [1, 2])
    await untilDeliveries(service, id, (all) => all.some((d) => d['attempts'] === 1), 'noted')
    await until(async () => {
      const [row] = await server.kernel.db.sql`
        select sender_id is null as free from webhook_endpoints where id = ${id}`
      return row.free === true
    }, 'the sender has left')
    receiver.reply(200)
    await later(server, 3_000_000)
    await Bun.sleep(300)
    expect(ns(receiver)).toEqual([1])
    await later(server, 700_000)
    await receiver.wait(3)
    expect(ns(receiver)).toEqual([1, 1, 2])
  })

  test('by redirecting into our own network is not followed', async () => {
    const { id } = await endpoint()
    const inside = await another()
    receiver.reply({ status: 307, headers: { Location: inside.url } })
    await tell(server, [1])
    const [delivery] = await untilDeliveries(service, id, ([d]) => d?.attempts === 1, 'noted')
    expect(delivery).toMatchObject({
      state: 'pending',
      status: 307,
      error: 'redirection: they are not followed',
    })
    expect(inside.received).toEqual([])
  })

  test('by hanging holds up no other endpoint', async () => {
    await endpoint()
    receiver.reply('never')
    const quick = await another()
    await service.create({ url: quick.url, events: ['test.happened'] })
    await tell(server, numbers(20))
    await quick.wait(20, 5_000)
    expect(ns(quick)).toEqual(numbers(20))
    expect(receiver.received.length).toBe(1)
  })

  test('says nothing of what another address in its network is', async () => {
    const { id } = await service.create({ url: 'https://private.invalid/' })
    const { body } = await service.call('POST', `/${id}/test`)
    expect(body).toMatchObject({
      state: 'failed',
      status: null,
      error: 'name: private.invalid has no address that may be sent to',
    })
  })
})

const waitOf = ({ due_at, attempted_at }: { [name: string]: string }) =>
  Date.parse(due_at!) - Date.parse(attempted_at!)

describe('an endpoint', () => {
  test('that is gone (410) is disabled, and everybody hears of it', async () => {
    const { id } = await endpoint()
    const watcher = await another()
    await service.create({ url: watcher.url, events: ['webhook.disabled'] })
    const written = lettersOf(server)
    receiver.reply(410)
    await tell(server, [1])
    await until(async () => (await service.get(id))['state'] === 'disabled', 'disabled')
    expect(await service.get(id)).toMatchObject({ disabled_because: 'gone' })
    const [told] = await watcher.wait(1)
    expect(told!.body.data).toEqual({ webhook_id: id, because: 'gone' })
    const trail = await auditTrail(server, 'webhooks.disabled')
    expect(trail.filter((line) => line.target_id === id)).toMatchObject([
      { actor_kind: 'server', after: { because: 'gone', host: new URL(receiver.url).host } },
    ])
    expect(written.filter(({ template }) => template === 'webhook_disabled')).toMatchObject([
      { user_id: admin.id, data: { because: 'gone', host: new URL(receiver.url).host } },
    ])

    receiver.reply(200)
    await tell(server, [2, 3])
    await Bun.sleep(700)
    await later(server, 60_000)
    await Bun.sleep(100)
    expect(ns(receiver)).toEqual([1])
    // Made active again, it goes on where it was.
    await service.call('PUT', `/${id}`, { state: 'active' })
    await receiver.wait(4)
    expect(ns(receiver)).toEqual([1, 1, 2, 3])
    expect(await service.get(id)).toMatchObject({ state: 'active', disabled_because: null })
  })

  test('that fails for three days is disabled; one that worked in between is not', async () => {
    const { id } = await endpoint()
    receiver.reply(500)
    await tell(server, [1])
    await untilDeliveries(service, id, ([d]) => d?.attempts === 1, 'noted')
    await later(server, 71 * 3_600_000)
    await untilDeliveries(service, id, ([d]) => d?.attempts === 2, 'noted')
    expect(await service.get(id)).toMatchObject({ state: 'active' })
    receiver.reply(200)
    await later(server, 600_000)
    await untilDeliveries(service, id, ([d]) => d?.state === 'delivered', 'delivered')
    receiver.reply(500)
    await tell(server, [2])
    await untilDeliveries(service, id, ([d]) => d?.attempts === 1, 'noted')
    await later(server, 71 * 3_600_000)
    await untilDeliveries(service, id, ([d]) => d?.attempts === 2, 'noted')
    expect(await service.get(id)).toMatchObject({ state: 'active' })
    await later(server, 2 * 3_600_000)
    await until(async () => (await service.get(id))['state'] === 'disabled', 'disabled')
    expect(await service.get(id)).toMatchObject({ disabled_because: 'failing' })
  })

  test('that is paused gets nothing until it goes on, and then everything', async () => {
    const { id } = await endpoint()
    await service.call('PUT', `/${id}`, { state: 'paused' })
    await tell(server, [1, 2, 3])
    await Bun.sleep(700)
    expect(receiver.received).toEqual([])
    expect(await service.get(id)).toMatchObject({ state: 'paused', behind: 3 })
    await service.call('PUT', `/${id}`, { state: 'active' })
    await receiver.wait(3)
    expect(ns(receiver)).toEqual([1, 2, 3])
  })

  test('whose API key ends is disabled, and gets nothing from then on', async () => {
    const ending = await makeService(server, admin.id)
    const late = await another()
    const { id } = await ending.create({ url: late.url, events: ['test.happened'] })
    await tell(server, [1])
    await late.wait(1)
    await server.kernel.db.sql`update api_keys set revoked_at = now() where id = ${ending.keyId}`
    await tell(server, [2])
    await until(async () => {
      const [row] = await server.kernel.db.sql`
        select disabled_because from webhook_endpoints where id = ${id}`
      return row.disabled_because === 'key_ended'
    }, 'disabled')
    expect(ns(late)).toEqual([1])
  })

  test('may have several deliveries under way, and no more than it wants', async () => {
    await endpoint({ parallel: 4 })
    let [now, most] = [0, 0]
    receiver.reply(() => {
      most = Math.max(most, ++now)
      setTimeout(() => now--, 45)
      return { status: 200, afterMs: 50 }
    })
    await tell(server, numbers(20))
    await receiver.wait(20)
    expect(most).toBeWithin(2, 5)
    expect(ns(receiver).toSorted((a, b) => a - b)).toEqual(numbers(20))
  })

  test('with a new secret is signed for with both, until the old one ends', async () => {
    const { id, secret: old } = await endpoint()
    const { body } = await service.call('POST', `/${id}/rotate-secret`, {})
    const fresh = body['secret'] as string
    expect(Date.parse(body['webhook'].previous_secret_until) - Date.now()).toBeWithin(
      86_300_000,
      86_500_000,
    )
    await tell(server, [1])
    const [first] = await receiver.wait(1)
    expect(first!.headers['webhook-signature']!.split(' ')).toHaveLength(2)
    expect([isGenuine(old, first!), isGenuine(fresh, first!)]).toEqual([true, true])
    await later(server, 86_500_000)
    await tell(server, [2])
    const [, second] = await receiver.wait(2)
    expect([isGenuine(old, second!), isGenuine(fresh, second!)]).toEqual([false, true])
    // At once, for a secret that has leaked.
    const at = { overlap_seconds: 0 }
    const newest = (await service.call('POST', `/${id}/rotate-secret`, at)).body['secret']
    await tell(server, [3])
    const [, , third] = await receiver.wait(3)
    expect([isGenuine(fresh, third!), isGenuine(newest, third!)]).toEqual([false, true])
  })

  test('can be tried out', async () => {
    const { id, secret } = await endpoint()
    receiver.reply({ status: 201, body: 'got it' })
    const { body } = await service.call('POST', `/${id}/test`)
    expect(body).toMatchObject({ type: 'webhook.test', state: 'delivered', answer: 'got it' })
    expect(isGenuine(secret, receiver.received[0]!)).toBe(true)
    expect(receiver.received[0]!.body).toMatchObject({ data: { webhook_id: id } })
    await receiver.stop()
    const { body: away } = await service.call('POST', `/${id}/test`)
    expect(away).toMatchObject({ state: 'failed', error: expect.stringMatching(/^unreachable/) })
    expect(await service.deliveries(id)).toHaveLength(2)
    await receiver.start()
  })
})

describe('to replay', () => {
  const replay = (id: string, body: object) => service.call('POST', `/${id}/replay`, body)

  test('from a place sends everything after it again, with the ids it had', async () => {
    const { id, webhook } = await endpoint()
    await tell(server, numbers(10))
    await receiver.wait(10)
    const from = { epoch: webhook['epoch'], offset: receiver.received[3]!.body.offset as number }
    const { body } = await replay(id, from)
    expect(body).toMatchObject({ webhook: { offset: from.offset } })
    expect(body['events']).toBeGreaterThanOrEqual(6)
    await receiver.wait(16)
    expect(ns(receiver).slice(10)).toEqual([5, 6, 7, 8, 9, 10])
    const ids = receiver.received.map((message) => message.id)
    expect(ids.slice(10)).toEqual(ids.slice(4, 10))
  })

  test('from a moment', async () => {
    const { id } = await endpoint()
    await tell(server, [1, 2])
    await receiver.wait(2)
    await Bun.sleep(5)
    const since = new Date().toISOString()
    await Bun.sleep(5)
    await tell(server, [3, 4])
    await receiver.wait(4)
    expect((await replay(id, { since })).status).toBe(200)
    await receiver.wait(6)
    expect(ns(receiver).slice(4)).toEqual([3, 4])
    expect((await replay(id, { since: '2001-01-01T00:00:00Z' })).status).toBe(200)
    expect((await replay(id, { since: '2101-01-01T00:00:00Z' })).body['events']).toBe(0)
  })

  test('to a later place leaves out what lies between', async () => {
    const { id } = await endpoint()
    await service.call('PUT', `/${id}`, { state: 'paused' })
    await tell(server, [1, 2, 3])
    await until(async () => (await service.get(id))['behind'] === 3, 'they have their places')
    const { offset, behind } = await service.get(id)
    await replay(id, { offset: offset + behind - 1 })
    await service.call('PUT', `/${id}`, { state: 'active' })
    await receiver.wait(1)
    expect(ns(receiver)).toEqual([3])
  })

  test('from nowhere is refused', async () => {
    const { id, webhook } = await endpoint()
    const code = async (body: object) => (await replay(id, body)).body['code'] as string
    expect(await code({})).toBe('validation_failed')
    expect(await code({ offset: 0, since: '2001-01-01T00:00:00Z' })).toBe('validation_failed')
    expect(await code({ offset: webhook['offset'] + 1_000 })).toBe('validation_failed')
    expect(await code({ offset: -1 })).toBe('validation_failed')
    expect(await code({ since: 'yesterday' })).toBe('validation_failed')
    expect(await code({ offset: 0, epoch: 'elsewhere' })).toBe('conflict')
    await server.kernel.db.sql`
      delete from stream_events using stream_heads h
      where h.id = head and h.channel = 'service:events' and position <= 3`
    expect(await code({ offset: 2 })).toBe('conflict')
  })
})

describe('a stream that has forgotten', () => {
  test('is said to have: where an endpoint was behind, and how much is missing', async () => {
    const { id } = await endpoint()
    await service.call('PUT', `/${id}`, { state: 'paused' })
    await tell(server, numbers(5))
    await until(async () => (await service.get(id))['behind'] === 5, 'they have their places')
    const { offset } = await service.get(id)
    await server.kernel.db.sql`
      delete from stream_events using stream_heads h
      where h.id = head and h.channel = 'service:events' and position <= ${offset + 3}`
    await service.call('PUT', `/${id}`, { state: 'active' })
    await receiver.wait(2)
    expect(ns(receiver)).toEqual([4, 5])
    expect(await service.get(id)).toMatchObject({ missed: 3, missed_at: expect.any(String) })
    const trail = await auditTrail(server, 'webhooks.events_missed')
    expect(trail).toMatchObject([{ target_id: id, after: { lost: 3 } }])
  })

  test('and has another life now tells everything of it', async () => {
    const { id } = await endpoint()
    await tell(server, [1])
    await receiver.wait(1)
    await server.kernel.db.sql`
      update webhook_endpoints set epoch = 'before', position = 100000 where id = ${id}`
    await receiver.wait(2)
    expect(await service.get(id)).toMatchObject({ missed: 0, missed_at: expect.any(String) })
  })
})
