import type { Caller } from '../kernel/access.ts'
import { createChangeFeed, type Reading } from '../kernel/change-feed.ts'
import type { WriteContext } from '../kernel/context.ts'
import { type Kernel, service } from '../kernel/kernel.ts'

/**
 * Who can be reached by whom has changed: somebody has blocked or unblocked somebody, or has left.
 * What others remember of it (messaging looks at it with every frame) must be forgotten, on every
 * instance within a second.
 */
export interface ContactChange {
  readonly userId: string
  /** Absent: everybody's contact with the user has changed. */
  readonly otherId: string | undefined
}

/** Hears of changes; `all` when some may have been missed. */
export type ContactListener = (changes: readonly ContactChange[] | 'all', made: Made) => void
/** Where a change was made; those of this instance come again, later, as from elsewhere. */
export type Made = 'here' | 'elsewhere'

/** Tells of changes of contacts. */
export interface Contacts {
  /** Calls `listener` with every change; returns how to stop that. */
  onChanged(listener: ContactListener): () => void
  /** A change that this instance has just committed. */
  made(change: ContactChange): void
  /** Reads what was changed since the last poll. */
  poll(): Promise<void>
  /** Polls until stopped; started by whoever remembers something. */
  start(): Promise<() => Promise<void>>
}

interface Row extends ContactChange {
  readonly number: string
}

/** The contacts of a server. */
export const Contacts = service('safety.contacts', createContacts)

function createContacts(kernel: Kernel): Contacts {
  const listeners = new Set<ContactListener>()
  const tell: ContactListener = (changes, made) => {
    for (const listener of listeners) listener(changes, made)
  }
  /** Rows come again for as long as a transaction lasts that was there before them. */
  let seen = new Set<string>()
  const feed = createChangeFeed<Row>(kernel, {
    name: 'changes of contacts',
    async load() {
      const [row] = await kernel.db.sql`
        select pg_snapshot_xmin(pg_current_snapshot())::text as xmin`
      return { xmin: row.xmin as string, rows: [] }
    },
    async readSince(since): Promise<Reading<Row>> {
      // One statement, so that both are of one snapshot.
      const [row] = await kernel.db.sql`
        select pg_snapshot_xmin(pg_current_snapshot())::text as xmin, array(
          select number || ' ' || user_id || ' ' || coalesce(other_id::text, '')
          from contact_changes where xact >= ${since}::text::xid8) as rows`
      return { xmin: row.xmin as string, rows: (row.rows as string[]).map(rowOf) }
    },
    apply(rows, loaded) {
      if (loaded) tell('all', 'elsewhere')
      const fresh = rows.filter(({ number }) => !seen.has(number))
      seen = new Set(rows.map(({ number }) => number))
      if (fresh.length > 0) tell(fresh, 'elsewhere')
    },
  })
  return {
    onChanged(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    made: (change) => tell([change], 'here'),
    poll: () => feed.poll(),
    start: () => feed.start(),
  }
}

function rowOf(text: string): Row {
  const [number = '', userId = '', otherId = ''] = text.split(' ')
  return { number, userId, otherId: otherId === '' ? undefined : otherId }
}

/**
 * Writes down, in the caller's transaction, that contacts have changed: between two people, or
 * everybody's with one.
 */
export async function changeContacts(
  { kernel, tx, afterCommit }: WriteContext<Caller | null>,
  userId: string,
  otherId?: string,
): Promise<void> {
  await tx.sql`
    insert into contact_changes (user_id, other_id) values (${userId}, ${otherId ?? null})`
  afterCommit(() => kernel.use(Contacts).made({ userId, otherId }))
}
