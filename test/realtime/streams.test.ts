import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { features } from '../../src/features.ts'
import { Client, type Frame } from '../support/client.ts'
import { labFeature } from '../support/lab.ts'
import { type Person, person } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

let server: TestServer
let ada: Person

beforeAll(async () => {
  server = await testServer({ features: [...features, labFeature] })
  ada = await person(server, 'ada')
})
afterAll(() => server.stop())

interface Subscribed {
  epoch: string
  offset: number
  recovered: boolean
  publications: { offset: number; type: string; payload: { text: string } }[]
}

const connect = () => Client.connect(server.wsUrl, ada.token)
const texts = (frames: readonly { payload: Record<string, unknown> }[]) =>
  frames.map(({ payload }) => payload['text'])
const offsets = (frames: readonly Frame[]) => frames.map(({ offset }) => offset)

/** Waits until the client has so many events, then a little longer for one too many. */
async function arrived(client: Client, type: string, count: number): Promise<Frame[]> {
  const deadline = performance.now() + 5_000
  while (client.events(type).length < count && performance.now() < deadline) await Bun.sleep(5)
  await Bun.sleep(50)
  return client.events(type)
}

describe('a stream', () => {
  test('numbers events from one, whichever way they come', async () => {
    const [writer, reader] = [await connect(), await connect()]
    await reader.ask('subscribe', { channel: 'lab:mixed' })
    await writer.ask('lab.note', { on: 'mixed', text: 'a' })
    await arrived(reader, 'noted', 1)
    await writer.ask('lab.note_fast', { on: 'mixed', text: 'b' })
    await writer.ask('lab.note', { on: 'mixed', text: 'c' })
    const events = await arrived(reader, 'noted', 3)
    expect(texts(events)).toEqual(['a', 'b', 'c'])
    expect(offsets(events)).toEqual([1, 2, 3])
    await Promise.all([writer.close(), reader.close()])
  })

  test('has no event of a transaction that failed', async () => {
    const client = await connect()
    await client.ask('subscribe', { channel: 'lab:failed' })
    expect(client.call('lab.note', { on: 'failed', text: 'fail' })).rejects.toThrow('conflict')
    expect(client.call('lab.note', { on: 'failed', text: 'crash' })).rejects.toThrow('internal')
    await client.ask('lab.note', { on: 'failed', text: 'good' })
    expect(texts(await arrived(client, 'noted', 1))).toEqual(['good'])
    await client.close()
  })

  test('is not held up by a transaction that stalls after writing', async () => {
    const [stalled, quick, reader] = [await connect(), await connect(), await connect()]
    await reader.ask('subscribe', { channel: 'lab:stall' })
    const waiting = stalled.ask('lab.note', { on: 'stall', text: 'late', stall_ms: 1_500 })
    await Bun.sleep(100)
    const start = performance.now()
    for (let n = 0; n < 20; n++) await quick.ask('lab.note_fast', { on: 'stall', text: `q${n}` })
    await arrived(reader, 'noted', 20)
    expect(performance.now() - start).toBeLessThan(1_200)
    await waiting
    const events = await arrived(reader, 'noted', 21)
    expect(texts(events).at(-1)).toBe('late')
    expect(offsets(events)).toEqual(Array.from({ length: 21 }, (_, n) => n + 1))
    await Promise.all([stalled, quick, reader].map((c) => c.close()))
  })

  test('isolates what fails in a batch', async () => {
    const [writer, reader] = [await connect(), await connect()]
    await reader.ask('subscribe', { channel: 'lab:poison' })
    const calls = ['1', 'poison', '2', 'fail', '3'].map((text) =>
      writer.call('lab.note_fast', { on: 'poison', text }),
    )
    const results = await Promise.allSettled(calls)
    expect(results.map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'fulfilled',
      'rejected',
      'fulfilled',
    ])
    expect(texts(await arrived(reader, 'noted', 3))).toEqual(['1', '2', '3'])
    await Promise.all([writer.close(), reader.close()])
  })

  test('keeps text as it is: quotes, backslashes, braces, emoji, null words', async () => {
    const client = await connect()
    await client.ask('subscribe', { channel: 'lab:odd' })
    const odd = ['"', '\\', '{a,b}', 'null', '', '😀 é', "it's", 'a\nb\tc', '\\"', '{}']
    for (const text of odd) await client.ask('lab.note', { on: 'odd', text })
    for (const text of odd) await client.ask('lab.note_fast', { on: 'odd', text })
    expect(texts(await arrived(client, 'noted', 20))).toEqual([...odd, ...odd])
    const again = await connect()
    const { epoch } = await again.ask<Subscribed>('subscribe', { channel: 'lab:odd' })
    const recover = { epoch, offset: 0 }
    const all = await again.ask<Subscribed>('subscribe', { channel: 'lab:odd', recover })
    expect(texts(all.publications)).toEqual([...odd, ...odd])
    await Promise.all([client.close(), again.close()])
  })
})

describe('recovery', () => {
  test('gives exactly what was missed', async () => {
    const [writer, reader] = [await connect(), await connect()]
    const first = await reader.ask<Subscribed>('subscribe', { channel: 'lab:cut' })
    await writer.ask('lab.note_fast', { on: 'cut', text: 'seen' })
    await arrived(reader, 'noted', 1)
    reader.cut()
    for (const text of ['m1', 'm2', 'm3']) await writer.ask('lab.note', { on: 'cut', text })
    await Bun.sleep(100)
    const back = await connect()
    const recover = { epoch: first.epoch, offset: 1 }
    const answer = await back.ask<Subscribed>('subscribe', { channel: 'lab:cut', recover })
    expect(answer).toMatchObject({ recovered: true, offset: 4 })
    expect(texts(answer.publications)).toEqual(['m1', 'm2', 'm3'])
    await writer.ask('lab.note', { on: 'cut', text: 'live' })
    expect(offsets(await arrived(back, 'noted', 1))).toEqual([5])
    await Promise.all([writer.close(), back.close()])
  })

  test.each([
    ['another epoch', { epoch: 'nonsense', offset: 0 }],
    ['an offset of the future', { epoch: '', offset: 99 }],
  ])('says that it cannot with %s', async (_name, since) => {
    const client = await connect()
    await client.ask('lab.note_fast', { on: 'epoch', text: 'x' })
    const { epoch } = await client.ask<Subscribed>('subscribe', { channel: 'lab:epoch' })
    const recover = { epoch: since.epoch || epoch, offset: since.offset }
    const answer = await client.ask<Subscribed>('subscribe', { channel: 'lab:epoch', recover })
    expect(answer).toMatchObject({ recovered: false, publications: [] })
    await client.close()
  })

  test('never gives a part: trimmed or too far behind means starting anew', async () => {
    const client = await connect()
    const calls = Array.from({ length: 30 }, (_, n) =>
      client.ask('lab.note_fast', { on: 'trim', text: `${n}` }),
    )
    await Promise.all(calls)
    const { epoch } = await client.ask<Subscribed>('subscribe', { channel: 'lab:trim' })
    await server.database.db.sql`
      delete from stream_events e using stream_heads h
      where h.id = e.head and h.channel = 'lab:trim' and e.position <= 10`
    const from = async (offset: number) =>
      await client.ask<Subscribed>('subscribe', { channel: 'lab:trim', recover: { epoch, offset } })
    expect(await from(5)).toMatchObject({ recovered: false, publications: [] })
    const whole = await from(10)
    expect(whole.recovered).toBe(true)
    expect(whole.publications.length).toBe(20)
    await client.close()
  })

  test('has history, both ways', async () => {
    const client = await connect()
    for (const text of ['a', 'b', 'c', 'd']) await client.ask('lab.note', { on: 'history', text })
    await Bun.sleep(100)
    const channel = 'lab:history'
    const all = await client.ask<Subscribed>('history', { channel })
    expect(texts(all.publications)).toEqual(['a', 'b', 'c', 'd'])
    const newest = await client.ask<Subscribed>('history', { channel, limit: 2, reverse: true })
    expect(texts(newest.publications)).toEqual(['d', 'c'])
    const since = { epoch: all.epoch, offset: 2 }
    const later = await client.ask<Subscribed>('history', { channel, since })
    expect(texts(later.publications)).toEqual(['c', 'd'])
    await client.close()
  })
})

describe('a cache channel', () => {
  test('gives the latest at once, then what comes', async () => {
    const [writer, reader] = [await connect(), await connect()]
    for (const text of ['1', '2', '3']) await writer.ask('lab.show', { on: 'now', text })
    await Bun.sleep(150)
    const answer = await reader.ask<Subscribed>('subscribe', { channel: 'board:now' })
    expect(texts(answer.publications)).toEqual(['3'])
    await writer.ask('lab.show', { on: 'now', text: '4' })
    expect(texts(await arrived(reader, 'shown', 1))).toEqual(['4'])
    const [row] = await server.database.db.sql`
      select count(*)::int as n from stream_events e join stream_heads h on h.id = e.head
      where h.channel = 'board:now'`
    expect(row.n).toBe(1)
    await Promise.all([writer.close(), reader.close()])
  })
})

describe('channels', () => {
  test.each(['lab:private-1', 'nonsense:1', 'lab', ':x', 'lab:', 'user:somebody-else'])(
    'that one may not read do not exist: %s',
    async (channel) => {
      const client = await connect()
      for (const command of ['subscribe', 'history', 'presence', 'presence_stats']) {
        const failure = await client.call(command, { channel }).catch((error) => error)
        expect(['not_found', 'validation_failed']).toContain(failure.payload.code)
      }
      await client.close()
    },
  )

  test('are left again, but never the personal one', async () => {
    const [writer, reader] = [await connect(), await connect()]
    await reader.ask('subscribe', { channel: 'lab:leave' })
    await reader.ask('unsubscribe', { channel: 'lab:leave' })
    await writer.ask('lab.note_fast', { on: 'leave', text: 'x' })
    await Bun.sleep(100)
    expect(reader.events('noted')).toEqual([])
    expect(reader.call('unsubscribe', { channel: `user:${ada.id}` })).rejects.toThrow('forbidden')
    await Promise.all([writer.close(), reader.close()])
  })

  test('are at most 128 a connection', async () => {
    const client = await connect()
    const all = Array.from({ length: 128 }, (_, n) =>
      client.ask('subscribe', { channel: `lab:many-${n}` }).then(
        () => 'ok',
        (error) => error.payload.code,
      ),
    )
    const results = await Promise.all(all)
    expect(results.filter((r) => r === 'ok').length).toBe(127)
    expect(results.at(-1)).toBe('conflict')
    await client.close()
  })
})
