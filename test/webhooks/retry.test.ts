import { expect, test } from 'bun:test'
import { ATTEMPTS_MAX, FAILING_MS_MAX, pauseMs, waitMs } from '../../src/webhooks/retry.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** What Standard Webhooks recommends. */
const SCHEDULE = [
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
]

test('attempts follow the schedule of Standard Webhooks, and then there are no more', () => {
  expect(ATTEMPTS_MAX).toBe(10)
  for (const [n, wait] of SCHEDULE.entries()) {
    const waits = Array.from({ length: 50 }, () => waitMs(n + 1, undefined) as number)
    for (const one of waits) expect(one).toBeWithin(wait * 0.899, wait * 1.101)
    // What failed together does not come back together.
    expect(new Set(waits).size).toBeGreaterThan(5)
  }
  expect(waitMs(ATTEMPTS_MAX, undefined)).toBeUndefined()
  expect(waitMs(ATTEMPTS_MAX + 5, HOUR)).toBeUndefined()
  const whole = SCHEDULE.reduce((sum, wait) => sum + wait, 0)
  expect(whole).toBeWithin(FAILING_MS_MAX, FAILING_MS_MAX + DAY)
})

test('who asks for more time gets it, who asks for less does not', () => {
  expect(waitMs(1, HOUR)).toBe(HOUR)
  expect(waitMs(4, SECOND)).toBeGreaterThan(HOUR)
})

test('an endpoint is left alone after five failures, ever longer, up to five minutes', () => {
  expect([0, 1, 4].map((failures) => pauseMs(failures, undefined))).toEqual([0, 0, 0])
  expect(pauseMs(5, undefined)).toBeWithin(899, 1_101)
  expect(pauseMs(9, undefined)).toBeWithin(16_000 * 0.899, 16_000 * 1.101)
  for (const failures of [14, 30, 1_000, 1e9]) {
    expect(pauseMs(failures, undefined)).toBeWithin(270_000 - 1, 330_001)
  }
  expect(pauseMs(1, 2 * HOUR)).toBe(2 * HOUR)
})
