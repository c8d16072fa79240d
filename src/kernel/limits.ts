import type { Clock } from './clock.ts'

/**
 * The rates of operations, one row each: how many at once (`burst`), how many a second after
 * that, and why. These are convenience limits: they live in memory, an instance each, and fail
 * open. Limits that security rests on are counted in Postgres.
 */
export const LIMITS = {
  read: { burst: 200, perSecond: 50, why: 'lists and lookups of a busy client opening its app' },
  write: { burst: 60, perSecond: 10, why: 'a person acting' },
  message: { burst: 300, perSecond: 50, why: 'a client sending its outbox after a night offline' },
  ephemeral: { burst: 100, perSecond: 30, why: 'typing and presence; lost ones do no harm' },
  receipt: { burst: 500, perSecond: 100, why: 'opening a long conversation marks all of it' },
  money: { burst: 30, perSecond: 2, why: 'a person paying; each payment locks two accounts' },
  webhook: { burst: 500, perSecond: 100, why: 'a provider after an outage sends what it has kept' },
  identity: { burst: 20, perSecond: 0.5, why: 'password hashing costs 0.1 s of a core' },
} as const satisfies Record<string, LimitRule>

/** A bucket of `burst` that refills by `perSecond`. */
export interface LimitRule {
  readonly burst: number
  readonly perSecond: number
  readonly why: string
}
export type LimitName = keyof typeof LIMITS
export type LimitTable = Readonly<Record<LimitName, LimitRule>>

/** Counts calls; subjects are users or, for the unauthenticated, network addresses. */
export interface Limiter {
  /** 0 when the call may go on, else the milliseconds until it may. */
  take(name: LimitName, subject: string): number
}

/** Above this many subjects in one bucket table, those at rest are forgotten. */
const SUBJECTS_MAX = 100_000

/**
 * Generic cell rate algorithm (ATM Forum TM 4.0, the leaky bucket as a meter): one number a
 * subject, the time at which its bucket would be empty again.
 */
export function createLimiter(clock: Clock, table: LimitTable = LIMITS): Limiter {
  const emptyAt = new Map<LimitName, Map<string, number>>()
  for (const name of Object.keys(table) as LimitName[]) emptyAt.set(name, new Map())
  return {
    take(name, subject) {
      const rule = table[name]
      const subjects = emptyAt.get(name) as Map<string, number>
      const nowMs = clock.monotonicMs()
      const intervalMs = 1000 / rule.perSecond
      const at = Math.max(subjects.get(subject) ?? 0, nowMs)
      const waitMs = at + intervalMs - nowMs - rule.burst * intervalMs
      // Half a microsecond absorbs what adding intervals loses to floating point.
      if (waitMs > 0.0005) return Math.ceil(waitMs)
      if (subjects.size >= SUBJECTS_MAX && !subjects.has(subject)) forget(subjects, nowMs)
      subjects.set(subject, at + intervalMs)
      return 0
    },
  }
}

function forget(subjects: Map<string, number>, nowMs: number): void {
  for (const [subject, at] of subjects) if (at <= nowMs) subjects.delete(subject)
  // All of them active: fail open by forgetting the oldest tenth rather than grow without end.
  let surplus = subjects.size - SUBJECTS_MAX * 0.9
  for (const subject of subjects.keys()) {
    if (surplus-- <= 0) break
    subjects.delete(subject)
  }
}
