import { SQL } from 'bun'
import { drizzle } from 'drizzle-orm/bun-sql'
import type { Clock } from '../src/base/clock.ts'
import { asFailure, type Orm, retryDelayMs, runTransaction, type Tx } from './transaction.ts'

/**
 * The one way to Postgres. Reads go over a pool; transactions take a connection of it for their
 * time; batches reserve one each. Built on Bun's client: see docs/decisions/002-database-driver.md.
 */
export interface Database {
  /** Plain SQL, one statement each. */
  readonly sql: SQL
  readonly orm: Orm
  /** One transaction, with retries (`db/transaction.ts`). */
  transaction<T>(fn: (tx: Tx) => Promise<T>): Promise<T>
  /**
   * A read that is tried again while the database restarts, for up to 5 s.
   * @throws Failure `unavailable` after that
   */
  read<T>(fn: (sql: SQL) => Promise<T>): Promise<T>
  /**
   * A connection of one's own for a batch; give it back with `release()`. Its statements are
   * planned once: planning them anew costs Postgres a third of a small batch.
   */
  reserve(): Promise<ReservedConnection>
  /** Connections in use and the most there may be. */
  pool(): { busy: number; max: number }
  close(): Promise<void>
}

export type ReservedConnection = Awaited<ReturnType<SQL['reserve']>>

export interface DatabaseOptions {
  readonly url: string
  readonly clock: Clock
  /** Most connections of the pool; 20 by default. Batches have a few of their own. */
  readonly max?: number
}

const CONNECTIONS_MAX = 20
/** One or two a batch operation; those that come at once wait a moment for each other. */
const BATCH_CONNECTIONS_MAX = 6

function connect(url: string, max: number, settings: Record<string, string> = {}): SQL {
  return new SQL({
    url,
    max,
    connectionTimeout: 5,
    // A connection is renewed now and then, so that a failed-over address is found again.
    maxLifetime: 3_600,
    connection: {
      application_name: 'rialto',
      // A statement that runs longer is a bug; waiting for a lock is bounded by whoever waits.
      statement_timeout: '30000',
      idle_in_transaction_session_timeout: '30000',
      ...settings,
    },
  })
}

/** Opens the pool; connects at first use. */
export function openDatabase(options: DatabaseOptions): Database {
  const { url, clock, max = CONNECTIONS_MAX } = options
  const client = connect(url, max)
  // Arrays of any length have the same plan, which Postgres would not believe by itself.
  const batches = connect(url, BATCH_CONNECTIONS_MAX, { plan_cache_mode: 'force_generic_plan' })
  const orm = drizzle({ client })
  let busy = 0
  const counted = async <T>(work: () => Promise<T>): Promise<T> => {
    busy++
    try {
      return await work()
    } finally {
      busy--
    }
  }
  return {
    sql: client,
    orm,
    transaction: (fn) => counted(() => runTransaction(client, clock, fn)),
    async read(fn) {
      const startMs = clock.monotonicMs()
      for (let attempt = 1; ; attempt++) {
        try {
          return await fn(client)
        } catch (error) {
          const wait = retryDelayMs(error, attempt, false, clock.monotonicMs() - startMs)
          if (wait === undefined) throw asFailure(error)
          await clock.sleep(wait)
        }
      }
    },
    async reserve() {
      const reserved = await batches.reserve()
      busy++
      const release = reserved.release.bind(reserved)
      reserved.release = () => {
        busy--
        return release()
      }
      return reserved
    },
    pool: () => ({ busy, max: max + BATCH_CONNECTIONS_MAX }),
    async close() {
      await Promise.all([client.close({ timeout: 5 }), batches.close({ timeout: 5 })])
    },
  }
}
