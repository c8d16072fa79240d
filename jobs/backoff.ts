import { Failure } from '../src/base/errors.ts'
import { jitter } from '../src/base/ids.ts'

/** Nothing waits longer than this for its next try. */
const BACKOFF_MS_MAX = 3_600_000
/** Jobs that failed together do not come back together. */
const JITTER = 0.2

/**
 * Milliseconds until the next try: `backoffMs` doubled with each failure, at most an hour, ± 20 %;
 * longer where a Failure says that nothing will come of it sooner.
 * @param attempt the number of the try that has failed, from 1
 */
export function retryDelayMs(backoffMs: number, attempt: number, error: unknown): number {
  const doubledMs = Math.min(backoffMs * 2 ** Math.min(attempt - 1, 30), BACKOFF_MS_MAX)
  const wishedMs = error instanceof Failure ? (error.retryAfterMs ?? 0) : 0
  return Math.max(Math.min(jitter(doubledMs, JITTER), BACKOFF_MS_MAX), wishedMs)
}
