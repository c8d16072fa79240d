import { describe, expect, test } from 'bun:test'
import { retryDelayMs } from '../../jobs/backoff.ts'
import { Capacity, type Held } from '../../jobs/capacity.ts'
import { errorText } from '../../jobs/execution.ts'
import { Failure } from '../../src/base/errors.ts'
import { t } from '../../src/base/schema.ts'
import { type Queue, queue } from '../../src/kernel/queue.ts'

const common = {
  description: 'Tests',
  payload: t.Object({}),
  deadlineMs: 1_000,
  triesMax: 1,
  backoffMs: 1_000,
}
const nothing = () => Promise.resolve()
const inside = (name: string, concurrency: number) =>
  queue(name, { ...common, concurrency, handle: nothing })
const outside = (name: string, concurrency: number) =>
  queue(name, { ...common, concurrency, perform: nothing })

let count = 0
function held(of: Queue): Held {
  const job = { queue: of.name, payload: new Uint8Array(), attempt: 1, enqueuedAtMs: 0, lateMs: 0 }
  const id = `${++count}`
  return { job: { ...job, id }, queue: of, abort: new AbortController(), startMs: 0, running: true }
}

describe('places', () => {
  test('are as many as the queue says, less what runs', () => {
    const [a, b] = [inside('a', 3), outside('b', 1)]
    const capacity = new Capacity([a, b], () => undefined)
    expect(capacity.rooms('handle')).toEqual([{ queue: 'a', free: 3, running: 0 }])
    capacity.take(held(a))
    capacity.take(held(b))
    expect(capacity.rooms('handle')).toEqual([{ queue: 'a', free: 2, running: 1 }])
    expect(capacity.rooms('perform')).toEqual([])
    expect(capacity.open()).toEqual(['a'])
    expect(capacity.running).toBe(2)
  })

  test('of jobs that take connections are eight, whatever queues say', () => {
    const [a, b] = [inside('a', 100), inside('b', 100)]
    const capacity = new Capacity([a, b], () => undefined)
    expect(capacity.rooms('handle').map(({ free }) => free)).toEqual([8, 8])
    for (let n = 0; n < 8; n++) capacity.take(held(a))
    expect(capacity.rooms('handle')).toEqual([])
    expect(capacity.free('handle')).toBe(0)
    expect(capacity.free('perform')).toBe(64)
  })

  test('are offered to each queue first in turn', () => {
    const capacity = new Capacity([inside('a', 1), inside('b', 1), inside('c', 1)], () => undefined)
    const first = Array.from({ length: 6 }, () => capacity.rooms('handle')[0]?.queue)
    expect(first).toEqual(['a', 'b', 'c', 'a', 'b', 'c'])
  })

  test('are asked for where something due may wait, and nowhere else', () => {
    const [a, b] = [inside('a', 2), inside('b', 2)]
    const capacity = new Capacity([a, b], () => undefined)
    const asked = () => capacity.ask('handle').map(({ queue: name }) => name)
    expect(asked()).toEqual([])
    capacity.hope()
    const rooms = capacity.ask('handle')
    expect(rooms.length).toBe(2)
    expect(asked()).toEqual([])
    // One got all that it had room for and may have more; the other is empty.
    const found = [held(a).job, held(a).job, held(b).job]
    capacity.answer(rooms, 8, found)
    expect(asked()).toEqual(['a'])
    // All places are taken: whoever was asked may have more.
    capacity.answer(rooms, 3, found)
    expect(asked().toSorted()).toEqual(['a', 'b'])
    // What is committed while an answer is under way is not forgotten by it.
    capacity.hope()
    const again = capacity.ask('handle')
    capacity.hope()
    capacity.answer(again, 8, [])
    expect(asked().toSorted()).toEqual(['a', 'b'])
  })

  test('become free once, and somebody is told', () => {
    let told = 0
    const a = inside('a', 1)
    const capacity = new Capacity([a], () => told++)
    const job = held(a)
    capacity.take(job)
    capacity.vacate(job)
    expect(capacity.held.size).toBe(1)
    capacity.forget(job)
    capacity.forget(job)
    expect({ told, running: capacity.running, held: capacity.held.size }).toEqual({
      told: 1,
      running: 0,
      held: 0,
    })
  })
})

describe('the wait after a failure', () => {
  const HOUR_MS = 3_600_000
  test.each([
    [1, 1_000],
    [2, 2_000],
    [5, 16_000],
    [12, 2_048_000],
    [13, HOUR_MS],
    [5_000, HOUR_MS],
  ])('after try %d is about %d ms, never above an hour', (attempt, aboutMs) => {
    for (let n = 0; n < 200; n++) {
      const delayMs = retryDelayMs(1_000, attempt, new Error('no'))
      expect(delayMs).toBeGreaterThanOrEqual(aboutMs * 0.8)
      expect(delayMs).toBeLessThanOrEqual(Math.min(aboutMs * 1.2, HOUR_MS))
    }
  })
  test('differs, so that what failed together does not come back together', () => {
    const delays = Array.from({ length: 50 }, () => retryDelayMs(1_000, 1, new Error('no')))
    expect(new Set(delays).size).toBeGreaterThan(40)
  })
  test('is as long as a Failure asks for, and no shorter than it would be', () => {
    const asking = (retryAfterMs: number) => new Failure('unavailable', 'later', { retryAfterMs })
    expect(retryDelayMs(1_000, 1, asking(9_000))).toBe(9_000)
    expect(retryDelayMs(10_000, 1, asking(1))).toBeGreaterThanOrEqual(8_000)
  })
})

describe('the error that is kept', () => {
  test.each<[text: string, error: unknown]>([
    ['TypeError: x is not a function', new TypeError('x is not a function')],
    ['Error: at smtp://me:[redacted]@mail.example', new Error('at smtp://me:secret@mail.example')],
    ['thrown text', 'thrown text'],
    ['undefined', undefined],
    ['Error: ab', new Error('a\0b')],
  ])('is %s', (text, error) => {
    expect(errorText(error)).toBe(text)
  })
  test('is bounded', () => {
    expect(errorText(new Error('x'.repeat(5_000))).length).toBe(1_000)
  })
})
