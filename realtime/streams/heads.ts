import type { SQL } from 'bun'
import type { Database } from '../../db/client.ts'
import { textArray } from '../../db/literals.ts'

/** What never changes about a channel's stream head, so that it may be remembered. */
export interface Head {
  readonly id: number
  readonly epoch: string
}

/** Finds and makes stream heads by channel name. */
export interface Heads {
  /** Remembered heads only. */
  known(channel: string): Head | undefined
  /**
   * Makes the heads that are missing, in a transaction of their own: a head remembered here must
   * not vanish with somebody's rollback.
   */
  ensure(channels: readonly string[]): Promise<void>
  remember(channel: string, head: Head): void
}

/** Heads remembered at most; the oldest are forgotten first and simply read again. */
const KNOWN_MAX = 200_000

/** Makes the table of heads over a database. */
export function createHeads(db: Database): Heads {
  const known = new Map<string, Head>()
  const remember = (channel: string, head: Head) => {
    if (known.size >= KNOWN_MAX) {
      const oldest = known.keys().next()
      if (!oldest.done) known.delete(oldest.value)
    }
    known.set(channel, head)
  }
  return {
    known: (channel) => known.get(channel),
    remember,
    async ensure(channels) {
      const missing = [...new Set(channels)].filter((channel) => !known.has(channel)).toSorted()
      if (missing.length === 0) return
      const names = textArray(missing)
      const rows = await db.read(async (sql) => {
        const found = await select(sql, names)
        if (found.length === missing.length) return found
        await sql`
          insert into stream_heads (channel)
          select c from unnest(${names}::text::text[]) c order by c on conflict do nothing`
        return await select(sql, names)
      })
      for (const row of rows) remember(row.channel, { id: row.id, epoch: row.epoch })
    },
  }
}

interface HeadRow {
  channel: string
  id: number
  epoch: string
}

function select(sql: SQL, names: string): Promise<HeadRow[]> {
  return sql<HeadRow[]>`
    select channel, id::float8 as id, epoch from stream_heads
    where channel = any(${names}::text::text[])`
}
