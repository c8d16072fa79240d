import type { SQL } from 'bun'
import type { EventType, Reference } from '../../src/kernel/channel.ts'
import type { Database } from '../../db/client.ts'
import { type Heads, plainArray, textArray } from './heads.ts'
import { quotedArray } from './batch.ts'

/** An event as it lies in its stream, rendered. */
export interface Publication {
  readonly offset: number
  readonly type: string
  /** The payload as JSON text, as its content is now. */
  readonly payload: string
}

/** Where a reader says it stands. */
export interface Since {
  readonly epoch: string
  readonly offset: number
}

/** What a stream answers. */
export interface Recovered {
  readonly epoch: string
  /** The newest offset at the moment of reading. */
  readonly top: number
  /** Everything after `since` up to `top`, or undefined when it is not all there any more. */
  readonly missed: readonly Publication[] | undefined
}

/** Reads streams; reads that come together are one query. */
export interface Recovery {
  /** The position of a channel, and what came after `since` where that is given. */
  read(channel: string, since?: Since): Promise<Recovered>
  /** Events of a channel within `(after, upTo]`, at most `limit`, newest first if `reverse`. */
  range(channel: string, range: Range): Promise<{ position: Recovered; events: Publication[] }>
  /** The tops of many channels at once, for finding lost tails. */
  tops(channels: readonly string[]): Promise<ReadonlyMap<string, number>>
  /** Renders rows by their kind, asking each event type once for all its references. */
  render(rows: readonly EventRow[]): Promise<Publication[]>
}

export interface Range {
  readonly after: number
  readonly limit: number
  readonly reverse: boolean
}

/** A stream row. */
export interface EventRow {
  readonly position: number
  readonly kind: number
  readonly ref_a: number | null
  readonly ref_b: number | null
  readonly payload: string | null
}

/** Somebody further behind than this starts anew: reading the current state is cheaper. */
export const RECOVER_MAX = 1_000
/** Reads joined into one query. */
const READS_MAX = 200

interface Waiting {
  readonly channel: string
  readonly since: Since | undefined
  readonly resolve: (result: Recovered) => void
  readonly reject: (error: unknown) => void
}

/** Makes the reader of a server's streams. */
export function createRecovery(
  db: Database,
  heads: Heads,
  kinds: ReadonlyMap<number, EventType>,
): Recovery {
  let waiting: Waiting[] = []
  let scheduled = false
  const render = (rows: readonly EventRow[]) => renderRows(db.sql, kinds, rows)
  const flush = () => {
    scheduled = false
    const all = waiting
    waiting = []
    for (let i = 0; i < all.length; i += READS_MAX) {
      void answer(db, heads, render, all.slice(i, i + READS_MAX))
    }
  }
  return {
    render,
    read(channel, since) {
      return new Promise((resolve, reject) => {
        waiting.push({ channel, since, resolve, reject })
        if (scheduled) return
        scheduled = true
        setImmediate(flush)
      })
    },
    async range(channel, { after, limit, reverse }) {
      await heads.ensure([channel])
      const { id, epoch } = heads.known(channel) as { id: number; epoch: string }
      const order = reverse ? 'desc' : 'asc'
      const rows = await db.read((sql) =>
        sql.unsafe<(EventRow & { top: number })[]>(
          `select h.top::float8 as top, ${COLUMNS} from stream_heads h
           left join lateral (
             select * from stream_events
             where head = h.id and position > $2 and position <= h.top
             order by position ${order} limit $3) e on true
           where h.id = $1 order by e.position ${order}`,
          [id, after, limit],
        ),
      )
      const events = await render(rows.filter(({ kind }) => kind !== null))
      return { position: { epoch, top: rows[0]?.top ?? 0, missed: undefined }, events }
    },
    async tops(channels) {
      const rows = await db.read(
        (sql) => sql<{ channel: string; top: number }[]>`
          select channel, top::float8 as top from stream_heads
          where channel = any(${textArray(channels)}::text::text[])`,
      )
      return new Map(rows.map(({ channel, top }) => [channel, top]))
    },
  }
}

const COLUMNS = `e.position::float8 as position, e.kind, e.ref_a::float8 as ref_a,
  e.ref_b::float8 as ref_b, e.payload`

/** Answers up to READS_MAX readers with two or three queries, whatever they ask. */
async function answer(
  db: Database,
  heads: Heads,
  render: Recovery['render'],
  asked: readonly Waiting[],
): Promise<void> {
  try {
    await heads.ensure(asked.map(({ channel }) => channel))
    const rows = await db.read((sql) => selectMissed(sql, heads, asked))
    const groups = Map.groupBy(rows, ({ n }) => n)
    const rendered = await render(rows.filter(({ kind }) => kind !== null))
    let next = 0
    for (const [n, { channel, since, resolve }] of asked.entries()) {
      const own = groups.get(n + 1) ?? []
      const count = own.filter(({ kind }) => kind !== null).length
      const missed = rendered.slice(next, next + count)
      next += count
      const epoch = (heads.known(channel) as { epoch: string }).epoch
      const top = own[0]?.top ?? 0
      const whole = since?.epoch === epoch && since.offset <= top && missed.length === top - since.offset
      resolve({ epoch, top, missed: whole ? missed : undefined })
    }
  } catch (error) {
    for (const { reject } of asked) reject(error)
  }
}

type MissedRow = EventRow & { n: number; top: number }

/** One snapshot for heads and events, so that the events are exactly those up to the top. */
function selectMissed(sql: SQL, heads: Heads, asked: readonly Waiting[]): Promise<MissedRow[]> {
  const ids = plainArray(asked.map(({ channel }) => heads.known(channel)?.id))
  if (asked.every(({ since }) => since === undefined)) {
    return sql<MissedRow[]>`
      select u.n::int as n, h.top::float8 as top, null as kind
      from unnest(${ids}::text::bigint[]) with ordinality u(id, n)
      join stream_heads h on h.id = u.id order by u.n`
  }
  return sql<MissedRow[]>`
    select u.n::int as n, h.top::float8 as top, e.position::float8 as position, e.kind,
      e.ref_a::float8 as ref_a, e.ref_b::float8 as ref_b, e.payload
    from unnest(${ids}::text::bigint[],
      ${quotedArray(asked.map(({ since }) => since?.epoch ?? null))}::text::text[],
      ${plainArray(asked.map(({ since }) => since?.offset))}::text::bigint[])
      with ordinality u(id, epoch, since, n)
    join stream_heads h on h.id = u.id
    left join stream_events e on e.head = h.id and h.epoch = u.epoch
      and h.top - u.since <= ${RECOVER_MAX} and e.position > u.since and e.position <= h.top
    order by u.n, e.position`
}

async function renderRows(
  sql: SQL,
  kinds: ReadonlyMap<number, EventType>,
  rows: readonly EventRow[],
): Promise<Publication[]> {
  const loaded = new Map<EventRow, string | undefined>()
  const referring = rows.filter(({ ref_a }) => ref_a !== null)
  for (const [kind, group] of Map.groupBy(referring, (row) => row.kind)) {
    const load = kinds.get(kind)?.load
    if (load === undefined) continue
    const refs = group.map((row): Reference => [row.ref_a ?? 0, row.ref_b ?? 0])
    const payloads = await load(sql, refs)
    for (const [n, row] of group.entries()) loaded.set(row, payloads[n])
  }
  return rows.map((row) => ({
    offset: row.position,
    // A number that this version does not know was written by a newer one during a deploy.
    type: kinds.get(row.kind)?.type ?? 'unknown',
    payload: row.payload ?? loaded.get(row) ?? '{}',
  }))
}
