import type { Clock } from '../base/clock.ts'

/**
 * What a rate is for, where it is counted and what happens when it cannot be.
 *
 * - `memory`, fails open: convenience. Counted by each instance for itself; they keep one caller
 *   from taking what is meant for all.
 * - `postgres`, fails closed: security rests on it. Counted for all instances together, also with
 *   Redis stopped and over a restart; when the database cannot be asked, nobody gets past.
 */
export interface LimitRule {
  /** So many at once, */
  readonly burst: number
  /** and after that so many a second. */
  readonly perSecond: number
  readonly store: 'memory' | 'postgres'
  readonly fails: 'open' | 'closed'
  /** Whose calls are counted together. */
  readonly per: string
  readonly why: string
}

/** A bucket of `burst` that refills by `perSecond`, and why. */
type Rate = Pick<LimitRule, 'burst' | 'perSecond' | 'why'>
const CALLER = 'user or API key, else address'

const convenience = (rate: Rate, per = CALLER) =>
  ({ ...rate, per, store: 'memory', fails: 'open' }) as const
const security = (per: string, rate: Rate) =>
  ({ ...rate, per, store: 'postgres', fails: 'closed' }) as const

const HOUR_S = 3_600
const DAY_S = 24 * HOUR_S

/** Every rate of the server, one row each. `docs/limits.md` is made from it. */
export const LIMITS = {
  read: convenience({
    burst: 200,
    perSecond: 50,
    why: 'lists and lookups of a busy client opening its app',
  }),
  write: convenience({ burst: 60, perSecond: 10, why: 'a person acting' }),
  message: convenience({
    burst: 300,
    perSecond: 50,
    why: 'a client sending its outbox after a night offline',
  }),
  ephemeral: convenience({
    burst: 100,
    perSecond: 30,
    why: 'typing and presence; lost ones do no harm',
  }),
  receipt: convenience({
    burst: 500,
    perSecond: 100,
    why: 'opening a long conversation marks all of it',
  }),
  identity: convenience({
    burst: 20,
    perSecond: 0.5,
    why: 'password hashing costs 0.1 s of a core',
  }),
  money: convenience({
    burst: 30,
    perSecond: 2,
    why: 'a person paying; each payment locks two accounts',
  }),
  webhook: convenience(
    {
      burst: 500,
      perSecond: 100,
      why: 'a payment provider sends what it has kept after an outage',
    },
    'address',
  ),
  refusal: convenience({
    burst: 5,
    perSecond: 1 / 60,
    why: 'audit lines about refusals of one caller; the refusals themselves are not limited',
  }),
  webhook_test: convenience({
    burst: 10,
    perSecond: 1 / 6,
    why: 'requests that the server makes at once to addresses of others',
  }),
  api_key_address: convenience(
    {
      burst: 30,
      perSecond: 1,
      why: 'keys that are none cost a lookup each; guessing 256 random bits is no danger',
    },
    'address',
  ),
  login_account: security('name that is signed in with; a known device of the account by itself', {
    burst: 10,
    perSecond: 10 / HOUR_S,
    why:
      'guesses at one password, from however many addresses; known devices have a count of ' +
      'their own, so that nobody can lock the owner out',
  }),
  login_address: security('address; not for known devices', {
    burst: 30,
    perSecond: 120 / HOUR_S,
    why: 'guesses of one password at many accounts; an office that signs in on a Monday',
  }),
  register_address: security('address', {
    burst: 20,
    perSecond: 20 / HOUR_S,
    why: 'accounts by the dozen, and asking which addresses are registered',
  }),
  mfa_code_account: security('account; each session or known device by itself', {
    burst: 5,
    perSecond: 10 / HOUR_S,
    why: 'three of a million codes are right: guessing for a day succeeds once in 1,300 times',
  }),
  mfa_code_address: security('address', {
    burst: 30,
    perSecond: 120 / HOUR_S,
    why: 'codes of many accounts tried from one place',
  }),
  recovery_start: security('account or address', {
    burst: 5,
    perSecond: 5 / HOUR_S,
    why: 'beginning to recover an account without its second factor',
  }),
  password_change: security('account', {
    burst: 5,
    perSecond: 10 / HOUR_S,
    why: 'guesses at the password by somebody who has got hold of a session',
  }),
  reset_mail_account: security('account', {
    burst: 3,
    perSecond: 3 / HOUR_S,
    why: 'mail that a stranger can have sent to somebody',
  }),
  reset_mail_address: security('address', {
    burst: 10,
    perSecond: 10 / HOUR_S,
    why: 'mail that one place can have sent to many',
  }),
  reset_token_address: security('address', {
    burst: 20,
    perSecond: 20 / HOUR_S,
    why: 'links that are none, tried one after another',
  }),
  wanted_address: security('mail address', {
    burst: 3,
    perSecond: 3 / DAY_S,
    why: 'mail to somebody whose address accounts of others want to have',
  }),
  verify_mail_account: security('account', {
    burst: 6,
    perSecond: 6 / HOUR_S,
    why:
      'mail to an address that may be a stranger’s; with a second factor a change of address ' +
      'counts twice',
  }),
  invitation: security('who invites', {
    burst: 50,
    perSecond: 50 / DAY_S,
    why: 'mail to strangers in the name of the product',
  }),
  report: security('who reports', {
    burst: 20,
    perSecond: 20 / DAY_S,
    why: 'work for moderators, and a means to harass',
  }),
} as const satisfies Record<string, LimitRule>

const byName: Readonly<Record<string, LimitRule>> = LIMITS
/** The rule of this name, as a `Failure` carries it. */
export const ruleOf = (name: string): LimitRule | undefined => byName[name]

type NameOf<S extends LimitRule['store']> = {
  [N in keyof typeof LIMITS]: (typeof LIMITS)[N]['store'] extends S ? N : never
}[keyof typeof LIMITS]

/** The convenience limits: what operations name, counted by a `Limiter`. */
export type LimitName = NameOf<'memory'>
/** The limits that security rests on, counted by `SecurityLimits`. */
export type SecurityLimitName = NameOf<'postgres'>

export type LimitTable = Readonly<Record<LimitName, Rate>>

/** Counts calls in memory; subjects are users, keys or network addresses. */
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
