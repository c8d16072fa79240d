import { SQL } from 'bun'
import { drizzle } from 'drizzle-orm/bun-sql'
import type { Clock } from '../src/kernel/clock.ts'
import { asFailure, type Orm, retryDelayMs, runTransaction, type Tx } from './transaction.ts'

/**
 * The one way to Postgres. Reads go over a pool; transactions take a connection of it for their
 * time; batches reserve one each. Built on Bun's client: see docs/decisions/002.
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
  /** A connection of one's own; give it back with `release()`. */
  reserve(): Promise<ReservedConnection>
  /** Connections in use and the most there may be. */
  pool(): { busy: number; max: number }
  close(): Promise<void>
}

export type ReservedConnection = Awaited<ReturnType<SQL['reserve']>>

export interface DatabaseOptions {
  readonly url: string
  readonly clock: Clock
  /** Most connections; 20 by default. */
  readonly max?: number
  /** A role to take on after connecting, where the login itself may do too much. */
  readonly role?: string
}

const CONNECTIONS_MAX = 20

/** Opens the pool; connects at first use. */
export function openDatabase({
  url,
  clock,
  max = CONNECTIONS_MAX,
  role,
}: DatabaseOptions): Database {
  const client = new SQL({
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
      ...(role === undefined ? {} : { role }),
    },
  })
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
      const reserved = await client.reserve()
      busy++
      const release = reserved.release.bind(reserved)
      reserved.release = () => {
        busy--
        return release()
      }
      return reserved
    },
    pool: () => ({ busy, max }),
    close: () => client.close({ timeout: 5 }),
  }
}
