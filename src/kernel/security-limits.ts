import { createHmac, hkdfSync } from 'node:crypto'
import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import { type Kernel, service } from './kernel.ts'
import { LIMITS, type SecurityLimitName } from './limits.ts'

/**
 * The limits that security rests on, counted in Postgres for all instances together. A count
 * stands by itself: it is neither part of the caller's transaction nor undone with it, so that a
 * guess that fails has still been one. Never ask from within a transaction: that would hold one
 * connection while waiting for another.
 *
 * When the database cannot be asked the answer is no (`unavailable`), never yes.
 */
export interface SecurityLimits {
  /**
   * Counts one, before whatever it is that must not be done too often.
   * @param subject whose: an id, an `addressGroup`, a name; only a keyed hash of it is stored
   * @throws Failure `rate_limited` with the time to wait | `unavailable`
   */
  take(name: SecurityLimitName, subject: string): Promise<void>
  /** Takes one back that has turned out to be none: a password that was right. */
  giveBack(name: SecurityLimitName, subject: string): Promise<void>
  /** Forgets all that was counted. */
  reset(name: SecurityLimitName, subject: string): Promise<void>
  /** Milliseconds until `take` would count another, 0 when it would now. Counts nothing. */
  peek(name: SecurityLimitName, subject: string): Promise<number>
}

/** The security limits of a server. */
export const SecurityLimits = service<SecurityLimits>('security-limits', createSecurityLimits)

function createSecurityLimits(kernel: Kernel): SecurityLimits {
  const { enabled } = kernel.config.rateLimits
  if (!enabled) return unlimited
  const hashOf = subjectHash(kernel.config.masterKeys)
  const refusals = kernel.metrics.counter(
    'security_limit_refusals_total',
    'Attempts refused because there were too many, by limit',
    ['limit'],
  )
  return {
    async take(name, subject) {
      const waitMs = await ask(kernel, name, (sql) => takeOne(sql, name, hashOf(name, subject)))
      if (waitMs === 0) return
      refusals.labels({ limit: name }).inc()
      throw new Failure('rate_limited', 'Too many attempts: wait before the next', {
        retryAfterMs: waitMs,
        limit: name,
      })
    },
    async giveBack(name, subject) {
      await ask(
        kernel,
        name,
        (sql) => sql`
          update security_limits
          set empty_at = empty_at - ${intervalUs(name)}::float8 * interval '1 microsecond'
          where name = ${name} and subject = ${hashOf(name, subject)}`,
      )
    },
    async reset(name, subject) {
      await ask(
        kernel,
        name,
        (sql) => sql`
          delete from security_limits where name = ${name} and subject = ${hashOf(name, subject)}`,
      )
    },
    peek: (name, subject) =>
      ask(kernel, name, async (sql) => {
        const [row] = await sql`
          select extract(epoch from empty_at - now())::float8 * 1000 as empty_in_ms
          from security_limits where name = ${name} and subject = ${hashOf(name, subject)}`
        return waitOf(name, row?.empty_in_ms ?? 0)
      }),
  }
}

/** For tests, whose people sign in a hundred times a minute; production refuses this setting. */
const unlimited: SecurityLimits = {
  take: async () => undefined,
  giveBack: async () => undefined,
  reset: async () => undefined,
  peek: async () => 0,
}

/** What one call fills its bucket by, in whole microseconds as Postgres counts time. */
const intervalUs = (name: SecurityLimitName) => Math.round(1e6 / LIMITS[name].perSecond)

/** Transactions that come at once begin at slightly different times; intervals are far longer. */
const SLACK_US = 1_000_000

/** How far ahead a bucket may be filled when another call comes. */
const aheadUs = (name: SecurityLimitName) => (LIMITS[name].burst - 1) * intervalUs(name) + SLACK_US

/** Milliseconds to wait where the bucket will be empty in so many. */
function waitOf(name: SecurityLimitName, emptyInMs: number): number {
  return Math.max(0, Math.ceil(emptyInMs - aheadUs(name) / 1000))
}

/**
 * The same algorithm as in memory (GCRA, `limits.ts`) in one statement, by the database's clock,
 * which is the same for all instances. The row's lock makes those that come at once one after the
 * other; one that is refused changes nothing, so that going on does not make the wait longer.
 * @returns 0, or the milliseconds to wait
 */
async function takeOne(sql: SQL, name: SecurityLimitName, subject: Uint8Array): Promise<number> {
  const [row] = (await sql`
    with taken as (
      insert into security_limits as l (name, subject, empty_at)
      values (${name}, ${subject}, now() + ${intervalUs(name)}::float8 * interval '1 microsecond')
      on conflict (name, subject) do update
      set empty_at = greatest(l.empty_at, now())
        + ${intervalUs(name)}::float8 * interval '1 microsecond'
      where l.empty_at <= now() + ${aheadUs(name)}::float8 * interval '1 microsecond'
      returning 1
    )
    select exists (select from taken) as taken, (
      select extract(epoch from empty_at - now())::float8 * 1000 from security_limits
      where name = ${name} and subject = ${subject}
    ) as empty_in_ms`) as { taken: boolean; empty_in_ms: number | null }[]
  if (row?.taken === true) return 0
  // The statement may not see a row that was filled while it waited for its lock.
  return Math.max(waitOf(name, row?.empty_in_ms ?? 0), 1)
}

/**
 * Tables of limits are lists of who was here and whom they tried to be; so only hashes are kept,
 * with a key that is not in the database. With another first master key counting begins anew.
 */
function subjectHash(masterKeys: readonly Uint8Array[]) {
  const [master] = masterKeys
  if (master === undefined) throw new Error('no master key')
  const key = Buffer.from(hkdfSync('sha256', master, '', 'rialto security limits', 32))
  return (name: string, subject: string) =>
    createHmac('sha256', key).update(`${name}\n${subject}`).digest()
}

/**
 * Asks the database, again while it restarts. An answer that was lost on the way is counted twice,
 * which errs on the safe side.
 */
async function ask<T>(
  { db, log }: Kernel,
  name: SecurityLimitName,
  query: (sql: SQL) => Promise<T>,
): Promise<T> {
  try {
    return await db.read(query)
  } catch (error) {
    log.error('a security limit cannot be counted: refusing', { limit: name, error })
    if (error instanceof Failure) throw error
    throw new Failure('unavailable', 'Attempts cannot be counted at the moment', {
      retryAfterMs: 1_000,
      cause: error,
    })
  }
}
