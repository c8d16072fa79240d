import { SQL } from 'bun'
import { drizzle } from 'drizzle-orm/bun-sql'
import type { Clock } from '../src/base/clock.ts'
import { Failure } from '../src/base/errors.ts'
import { jitter } from '../src/base/ids.ts'

export type Orm = ReturnType<typeof drizzle>

/** One transaction: plain SQL and Drizzle on the same connection. */
export interface Tx {
  readonly sql: SQL
  readonly orm: Orm
  /**
   * Hands over a statement that was sent and not awaited, the last of the transaction: it travels
   * with the commit, without a round trip of its own. When it fails, so does the transaction.
   */
  withCommit(statement: Promise<unknown>): void
}

/** SQLSTATE of a database error, whoever has wrapped it (Bun keeps it in `errno`). */
export function sqlState(error: unknown): string | undefined {
  for (let e = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth++) {
    if (e instanceof SQL.PostgresError) {
      const state = (e as { errno?: unknown }).errno
      return typeof state === 'string' ? state : undefined
    }
  }
  return undefined
}

/** The constraint that a statement ran into, if that is what failed it. */
export function constraintOf(error: unknown): string | undefined {
  for (let e = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth++) {
    const name = (e as { constraint?: unknown }).constraint
    if (typeof name === 'string') return name
  }
  return undefined
}

/** Serialisation failure or deadlock: the transaction did nothing and may simply run again. */
function isSerializationFailure(error: unknown): boolean {
  const state = sqlState(error)
  return state === '40001' || state === '40P01'
}

// Class 08, admin and crash shutdown, start-up, too many clients.
const CONNECTION_STATE = /^(08|57P0|53300)/

/** The connection is gone or the database is not there (yet). */
export function isConnectionFailure(error: unknown): boolean {
  const state = sqlState(error)
  if (state !== undefined) return CONNECTION_STATE.test(state)
  for (let e = error, depth = 0; e instanceof Error && depth < 5; e = e.cause, depth++) {
    const code = (e as { code?: unknown }).code
    if (typeof code === 'string' && CLIENT_CODES.test(code)) return true
  }
  return false
}
const CLIENT_CODES =
  /^(ERR_POSTGRES_(CONNECTION|LIFETIME|IDLE|NOT_)|ERR_SOCKET|ECONN|EPIPE|FailedToOpenSocket)/

/** How often a serialisation failure is retried, and how long a lost database is waited for. */
const RETRIES_MAX = 12
const RECONNECT_MS_MAX = 5_000

/**
 * Runs `fn` in one transaction and commits. Serialisation failures run it again from the start; so
 * does a connection lost before the commit was sent, for up to 5 s. A connection lost while
 * committing is answered `unavailable`: whether it counted is unknown, so that only the caller's
 * idempotency key may repeat it.
 *
 * `fn` must do nothing outside the database that may not happen twice.
 */
export async function runTransaction<T>(
  client: SQL,
  clock: Clock,
  fn: (tx: Tx) => Promise<T>,
): Promise<T> {
  const startMs = clock.monotonicMs()
  for (let attempt = 1; ; attempt++) {
    let committing = false
    const last: Promise<unknown>[] = []
    try {
      return await client.begin(async (sql) => {
        const result = await fn(transactionOn(sql, last))
        committing = true
        return result
      })
    } catch (failure) {
      // A failed last statement is why its commit was a rollback.
      const error = await Promise.all(last).then(
        () => failure,
        (cause: unknown) => cause,
      )
      const wait = retryDelayMs(error, attempt, committing, clock.monotonicMs() - startMs)
      if (wait === undefined) throw asFailure(error)
      await clock.sleep(wait)
    }
  }
}

/** Milliseconds to wait before running a failed transaction again; undefined when one must not. */
export function retryDelayMs(
  error: unknown,
  attempt: number,
  committing: boolean,
  elapsedMs: number,
): number | undefined {
  if (isSerializationFailure(error)) {
    return attempt > RETRIES_MAX ? undefined : jitter(Math.min(2 ** attempt, 100), 0.5)
  }
  if (isConnectionFailure(error) && !committing && elapsedMs < RECONNECT_MS_MAX) {
    return jitter(50, 0.5)
  }
  return undefined
}

/** What the caller sees of a database that is away; every other error passes unchanged. */
export function asFailure(error: unknown): unknown {
  if (isSerializationFailure(error)) {
    return new Failure('unavailable', 'Too much contention; try again', {
      cause: error,
      retryAfterMs: 200,
    })
  }
  if (isConnectionFailure(error)) {
    return new Failure('unavailable', 'The database is not reachable', {
      cause: error,
      retryAfterMs: 1_000,
    })
  }
  return error
}

function transactionOn(sql: SQL, last: Promise<unknown>[]): Tx {
  let orm: Orm | undefined
  return {
    sql,
    withCommit(statement) {
      // Looked at when the commit has failed, and only then.
      statement.catch(() => undefined)
      last.push(statement)
    },
    get orm() {
      return (orm ??= drizzle({ client: sql }))
    },
  }
}
