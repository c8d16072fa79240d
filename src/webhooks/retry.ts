import { jitter } from '../base/ids.ts'

/** When what has failed is tried again. Pure but for the jitter. */

const SECOND_MS = 1_000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS

/** Waits between the attempts for one delivery, as Standard Webhooks recommends: 3 days in all. */
const WAITS_MS = [
  5 * SECOND_MS,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
  14 * HOUR_MS,
  20 * HOUR_MS,
  24 * HOUR_MS,
] as const

/** Attempts for one delivery before it has failed. */
export const ATTEMPTS_MAX = WAITS_MS.length + 1

/** An endpoint that has failed all attempts for so long is disabled. */
export const FAILING_MS_MAX = 72 * HOUR_MS

/** What failed together does not come back together. */
const JITTER = 0.1

/**
 * Milliseconds until the next attempt for a delivery; undefined when there is none.
 * @param attempts made so far, the failed one included
 * @param askedMs what the other side has asked for, if it did (`Retry-After`)
 */
export function waitMs(attempts: number, askedMs: number | undefined): number | undefined {
  const wait = WAITS_MS[attempts - 1]
  return wait === undefined ? undefined : Math.round(Math.max(jitter(wait, JITTER), askedMs ?? 0))
}

/** Failures in a row after which an endpoint is left alone for a while. */
const FAILURES_BORNE = 5
const PAUSE_MS_MAX = 5 * MINUTE_MS

/**
 * Milliseconds for which an endpoint gets nothing at all: what waits for it keeps its attempts for
 * when it is back, and one attempt now and then shows whether it is.
 * @param failures in a row, of whatever deliveries
 */
export function pauseMs(failures: number, askedMs: number | undefined): number {
  const doublings = failures - FAILURES_BORNE
  const own = doublings < 0 ? 0 : Math.min(SECOND_MS * 2 ** Math.min(doublings, 20), PAUSE_MS_MAX)
  return Math.round(Math.max(jitter(own, JITTER), askedMs ?? 0))
}
