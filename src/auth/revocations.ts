import type { Kernel } from '../kernel/kernel.ts'

/**
 * Which sessions are revoked. The truth is a table that every instance polls; what another
 * instance announces in the meantime only makes it faster. Losing the broker, or the database,
 * therefore never brings a revoked session back.
 */
export interface Revocations {
  has(sessionId: string): boolean
  /** Adds sessions that somebody knows to be revoked; listeners hear of those that are new. */
  apply(sessionIds: readonly string[]): void
  /** Calls `listener` with every newly revoked session; returns how to stop that. */
  onRevoked(listener: (sessionIds: readonly string[]) => void): () => void
  /** Reads what was revoked since the last poll. */
  poll(): Promise<void>
  /** Loads what is recent, then polls until stopped. */
  start(): Promise<() => Promise<void>>
}

/** Between two polls; with the query itself a revocation bites well within half a second. */
const POLL_MS = 300

/** What the clocks of this server and its database may differ by, and a transaction may last. */
const LOAD_MARGIN_MS = 5 * 60_000

interface Reading {
  readonly xmin: string
  readonly ids: string[]
}

/** Makes the revocations of a server. */
export function createRevocations(kernel: Kernel): Revocations {
  const { clock, db, log } = kernel
  const lifeMs = kernel.config.jwt.accessTtlMs + LOAD_MARGIN_MS
  /** When each is forgotten: the access tokens of its session have all ended by then. */
  const forgetAtMs = new Map<string, number>()
  const listeners = new Set<(sessionIds: readonly string[]) => void>()
  /** The oldest transaction that the last poll could not see the end of. */
  let since: string | undefined
  let failing = false

  const apply = (sessionIds: readonly string[]) => {
    const fresh = sessionIds.filter((id) => !forgetAtMs.has(id))
    if (fresh.length === 0) return
    for (const id of fresh) forgetAtMs.set(id, clock.now() + lifeMs)
    for (const listener of listeners) listener(fresh)
  }

  const forget = () => {
    for (const [id, atMs] of forgetAtMs) {
      if (atMs > clock.now()) break
      forgetAtMs.delete(id)
    }
  }

  /** Everything recent, by time: at first, and when the thread of transactions is lost. */
  const load = async () => {
    const [row] = (await db.sql`
      select pg_snapshot_xmin(pg_current_snapshot())::text as xmin, array(
        select session_id::text from session_revocations
        where revoked_at > now() - ${lifeMs} * interval '1 millisecond'
      ) as ids`) as Reading[]
    return row as Reading
  }

  /**
   * Rows of every transaction that had not ended at the last reading. A time or a sequence as the
   * cursor would skip a transaction that commits after a later one.
   */
  const readSince = async (xmin: string) => {
    const [row] = (await db.sql`
      select pg_snapshot_xmin(pg_current_snapshot())::text as xmin, array(
        select session_id::text from session_revocations where xact >= ${xmin}::text::xid8
      ) as ids`) as Reading[]
    return row as Reading
  }

  const poll = async () => {
    let reading = since === undefined ? await load() : await readSince(since)
    // Transactions that count from lower than before: another database, restored from a backup.
    if (since !== undefined && BigInt(reading.xmin) < BigInt(since)) reading = await load()
    since = reading.xmin
    apply(reading.ids)
    forget()
  }

  const pollOrNote = async () => {
    try {
      await poll()
      if (failing) log.info('revocations are polled again')
      failing = false
    } catch (error) {
      // What is known stays in force. What comes back may be another database: load by time.
      since = undefined
      if (!failing) log.error('revocations cannot be polled', { error })
      failing = true
    }
  }

  return {
    has: (sessionId) => forgetAtMs.has(sessionId),
    apply,
    onRevoked(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    poll,
    async start() {
      await poll()
      const stopping = new AbortController()
      const polling = (async () => {
        while (!stopping.signal.aborted) {
          await clock.sleep(POLL_MS, stopping.signal).catch(() => undefined)
          if (!stopping.signal.aborted) await pollOrNote()
        }
      })()
      return async () => {
        stopping.abort()
        await polling
      }
    },
  }
}
