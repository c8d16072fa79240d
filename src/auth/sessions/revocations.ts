import { createChangeFeed, type Reading } from '../../kernel/change-feed.ts'
import type { Kernel } from '../../kernel/kernel.ts'

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

/** What the clocks of this server and its database may differ by, and a transaction may last. */
const LOAD_MARGIN_MS = 5 * 60_000

interface Row {
  readonly xmin: string
  readonly ids: string[]
}
const readingOf = ([row]: readonly Row[]): Reading<string> => {
  const { xmin, ids } = row as Row
  return { xmin, rows: ids }
}

/** Makes the revocations of a server. */
export function createRevocations(kernel: Kernel): Revocations {
  const { clock, db } = kernel
  const lifeMs = kernel.config.jwt.accessTtlMs + LOAD_MARGIN_MS
  /** When each is forgotten: the access tokens of its session have all ended by then. */
  const forgetAtMs = new Map<string, number>()
  const listeners = new Set<(sessionIds: readonly string[]) => void>()

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

  const feed = createChangeFeed<string>(kernel, {
    name: 'revocations',
    // Everything recent, by time.
    load: async () =>
      readingOf(
        await db.sql`
        select pg_snapshot_xmin(pg_current_snapshot())::text as xmin, array(
          select session_id::text from session_revocations
          where revoked_at > now() - ${lifeMs} * interval '1 millisecond'
        ) as ids`,
      ),
    readSince: async (since) =>
      readingOf(
        await db.sql`
        select pg_snapshot_xmin(pg_current_snapshot())::text as xmin, array(
          select session_id::text from session_revocations where xact >= ${since}::text::xid8
        ) as ids`,
      ),
    apply(sessionIds) {
      apply(sessionIds)
      forget()
    },
  })

  return {
    has: (sessionId) => forgetAtMs.has(sessionId),
    apply,
    onRevoked(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    poll: () => feed.poll(),
    start: () => feed.start(),
  }
}
