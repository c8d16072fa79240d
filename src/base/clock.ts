/**
 * Time and timers, injected everywhere. This file is the only one that reads the machine's clock
 * or starts a timer, so that tests can freeze both.
 */

/** A pending timer. Cancelling one that has fired, or cancelling twice, does nothing. */
export interface Timer {
  cancel(): void
}

/** What the server knows of time. */
export interface Clock {
  /** Wall clock in milliseconds since the Unix epoch; it may jump, so never measure with it. */
  now(): number
  /** The wall clock as a `Date`. */
  date(): Date
  /** The wall clock as RFC 3339 text, UTC with milliseconds: what clients see. */
  iso(): string
  /** Milliseconds with fractions since an arbitrary start; never goes back. For durations. */
  monotonicMs(): number
  /** Runs `fn` once after `delayMs`. Timers never keep the process alive. */
  setTimeout(fn: () => void, delayMs: number): Timer
  /** Runs `fn` every `periodMs`, first after one period. Never keeps the process alive. */
  setInterval(fn: () => void, periodMs: number): Timer
  /** Resolves after `delayMs`; rejects with the signal's reason when it is aborted before. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>
}

/** Above this, the runtime's timers overflow 32 bits and fire at once. */
const DELAY_MS_MAX = 2 ** 31 - 1

function sleepWith(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason)
      return
    }
    const onAbort = () => {
      timer.cancel()
      reject(signal?.reason)
    }
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, delayMs)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** A delay beyond the runtime's limit is waited in several steps instead of firing at once. */
function systemTimeout(fn: () => void, delayMs: number): Timer {
  let left = delayMs
  let handle: ReturnType<typeof setTimeout>
  const arm = () => {
    const step = Math.min(left, DELAY_MS_MAX)
    left -= step
    handle = setTimeout(left > 0 ? arm : fn, step)
    handle.unref()
  }
  arm()
  return { cancel: () => clearTimeout(handle) }
}

/** Thousands of frames share a millisecond; the text is made once for all of them. */
let isoMs = Number.NaN
let isoText = ''

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  date: () => new Date(),
  iso() {
    const nowMs = Date.now()
    if (nowMs !== isoMs) {
      isoMs = nowMs
      isoText = new Date(nowMs).toISOString()
    }
    return isoText
  },
  monotonicMs: () => performance.now(),
  setTimeout: systemTimeout,
  setInterval(fn, periodMs) {
    const handle = setInterval(fn, Math.min(periodMs, DELAY_MS_MAX))
    handle.unref()
    return { cancel: () => clearInterval(handle) }
  },
  sleep: (delayMs, signal) => sleepWith(systemClock, delayMs, signal),
}

/** A clock that stands still until it is told to move. */
export interface TestClock extends Clock {
  /** Moves both clocks on by `ms`, firing due timers in order of time, then of creation. */
  advance(ms: number): void
  /** As `advance`, but lets promises settle between timers, so that sleepers may sleep again. */
  advanceAsync(ms: number): Promise<void>
  /** Moves the wall clock alone by `ms`, also back, as an operator or NTP would. */
  jump(ms: number): void
  /** How many timers are pending. */
  pendingTimers(): number
}

interface Pending {
  at: number
  order: number
  periodMs: number | undefined
  fn: () => void
}

/** How often promises may continue between two timers of `advanceAsync`. */
const SETTLE_TURNS = 3

/**
 * A clock for tests.
 *
 * @example
 * const clock = testClock(Date.UTC(2026, 0, 1))
 * clock.setTimeout(() => closeSocket(), 5_000)
 * clock.advance(5_000) // closeSocket has run
 */
export function testClock(startMs = 1_767_225_600_000): TestClock {
  const pending = new Set<Pending>()
  let elapsedMs = 0
  let wallOffsetMs = startMs
  let order = 0

  const add = (fn: () => void, delayMs: number, periodMs?: number): Timer => {
    const entry = { at: elapsedMs + Math.max(delayMs, 0), order: order++, periodMs, fn }
    pending.add(entry)
    return { cancel: () => void pending.delete(entry) }
  }

  /** Fires the earliest timer due by `untilMs`; false when there is none. */
  const fireNext = (untilMs: number): boolean => {
    let next: Pending | undefined
    for (const entry of pending) {
      if (entry.at > untilMs) continue
      if (!next || entry.at < next.at || (entry.at === next.at && entry.order < next.order)) {
        next = entry
      }
    }
    if (!next) return false
    elapsedMs = Math.max(elapsedMs, next.at)
    if (next.periodMs === undefined) {
      pending.delete(next)
    } else {
      next.at += next.periodMs
      next.order = order++
    }
    next.fn()
    return true
  }

  const clock: TestClock = {
    now: () => wallOffsetMs + elapsedMs,
    date: () => new Date(wallOffsetMs + elapsedMs),
    iso: () => new Date(wallOffsetMs + elapsedMs).toISOString(),
    monotonicMs: () => elapsedMs,
    setTimeout: (fn, delayMs) => add(fn, delayMs),
    setInterval: (fn, periodMs) => add(fn, Math.max(periodMs, 1), Math.max(periodMs, 1)),
    sleep: (delayMs, signal) => sleepWith(clock, delayMs, signal),
    advance(ms) {
      const untilMs = elapsedMs + ms
      while (fireNext(untilMs));
      elapsedMs = untilMs
    },
    async advanceAsync(ms) {
      const untilMs = elapsedMs + ms
      do {
        for (let turn = 0; turn < SETTLE_TURNS; turn++) {
          await new Promise((resolve) => setImmediate(resolve))
        }
      } while (fireNext(untilMs))
      elapsedMs = untilMs
    },
    jump(ms) {
      wallOffsetMs += ms
    },
    pendingTimers: () => pending.size,
  }
  return clock
}
