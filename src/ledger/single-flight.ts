import type { Clock } from '../base/clock.ts'
import { Failure } from '../base/errors.ts'

/** Shorter than the 30 s after which the connection of a silent request is closed. */
const WAIT_MS = 20_000
/** How long a result waits for somebody who was told to come back. */
const KEPT_MS = 10 * 60_000

/**
 * Work that reads everything and may take longer than an answer: it runs once at a time, and
 * whoever asks while it runs gets its result. Whoever has waited too long is told to ask again and
 * then gets what came of it.
 *
 * @returns a function that throws Failure `unavailable` (retryable) when it takes too long
 */
export function singleFlight<T>(clock: Clock, work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  let kept: { readonly result: T; readonly untilMs: number } | undefined
  return async () => {
    const waiting = kept
    kept = undefined
    if (waiting !== undefined && waiting.untilMs > clock.monotonicMs()) return waiting.result
    const current = (running ??= work().finally(() => (running = undefined)))
    const enough = new AbortController()
    const late = clock.sleep(WAIT_MS, enough.signal).then(
      () => undefined,
      () => undefined,
    )
    const first = await Promise.race([current.then((result) => ({ result })), late]).finally(() =>
      enough.abort(),
    )
    if (first !== undefined) return first.result
    void current.then(
      (result) => (kept = { result, untilMs: clock.monotonicMs() + KEPT_MS }),
      () => undefined,
    )
    throw new Failure('unavailable', 'It is still running; ask again', { retryAfterMs: 5_000 })
  }
}
