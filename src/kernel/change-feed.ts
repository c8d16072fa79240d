import type { Kernel } from './kernel.ts'
import { Loop } from './loop.ts'

/** What has been read of a table of changes. */
export interface Reading<T> {
  /** The oldest transaction that was running then: what the next reading begins with. */
  readonly xmin: string
  readonly rows: readonly T[]
}

/** A table of changes that every instance follows; each row carries `xact`, its transaction. */
export interface ChangeTable<T> {
  /** What it is, for the log: `revocations`. */
  readonly name: string
  /**
   * Rows of every transaction that had not ended at the last reading (`xact >= since`). A time or a
   * sequence as the cursor would skip a transaction that commits after a later one.
   */
  readonly readSince: (since: string) => Promise<Reading<T>>
  /** What must be known at first, and again when the thread of transactions is lost. */
  readonly load: () => Promise<Reading<T>>
  /** `loaded`: by `load`, so that there may be changes that are not among the rows. */
  readonly apply: (rows: readonly T[], loaded: boolean) => void
}

/** Keeps up with a table of changes. */
export interface ChangeFeed {
  /** Reads what has changed since the last poll. */
  poll(): Promise<void>
  /** Loads, then polls until stopped. */
  start(): Promise<() => Promise<void>>
}

/** Between two polls; with the query itself a change bites well within half a second. */
const POLL_MS = 300

/**
 * Makes what follows a table. The table is the truth: losing the broker, which only makes things
 * faster, or the database for a while, never loses a change.
 */
export function createChangeFeed<T>(
  { clock, log }: Pick<Kernel, 'clock' | 'log'>,
  { name, readSince, load, apply }: ChangeTable<T>,
): ChangeFeed {
  /** The oldest transaction that the last poll could not see the end of. */
  let since: string | undefined

  const poll = async () => {
    let loaded = since === undefined
    let reading = since === undefined ? await load() : await readSince(since)
    // Transactions that count from lower than before: another database, restored from a backup.
    if (since !== undefined && BigInt(reading.xmin) < BigInt(since)) {
      reading = await load()
      loaded = true
    }
    since = reading.xmin
    apply(reading.rows, loaded)
  }

  return {
    poll,
    async start() {
      await poll()
      const loop = new Loop({
        clock,
        async round() {
          await poll()
          return POLL_MS
        },
        failed(error, first) {
          // What is known stays in force. What comes back may be another database: load again.
          since = undefined
          if (first) log.error(`${name} cannot be polled`, { error })
        },
        recovered: () => log.info(`${name} are polled again`),
        retryMs: POLL_MS,
      })
      loop.kickIn(POLL_MS)
      return () => loop.stop()
    },
  }
}
