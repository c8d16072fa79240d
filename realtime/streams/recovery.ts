import type { SQL } from 'bun'
import type { Database } from '../../db/client.ts'
import { plainArray, quotedArray, textArray } from '../../db/literals.ts'
import type { EventType } from '../../src/kernel/channel.ts'
import type { StreamRenderer } from '../dialects/dialect.ts'
import type { Head, Heads } from './heads.ts'
import type { Publication } from './publication.ts'

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
  /**
   * Everything after `since` up to `top`, as elements of a JSON array; undefined when it is not
   * all there any more.
   */
  readonly missed: { readonly count: number; readonly text: string } | undefined
}

/** Reads streams; reads that come together are one query. */
export interface Recovery {
  /** The position of a channel, and what came after `since` where that is given. */
  read(channel: string, since?: Since): Promise<Recovered>
  /** The same, one by one: for the hub, which fills a gap. */
  after(channel: string, since: Since): Promise<Single>
  /** Events after an offset, at most `limit`, newest first if `reverse`. */
  range(channel: string, range: Range): Promise<Head & { top: number; events: Publication[] }>
  /** The tops of many channels at once, for finding lost tails. */
  tops(channels: readonly string[]): Promise<ReadonlyMap<string, number>>
  /** Events by (head, position), in that order: what the writer has just numbered. */
  at(heads: readonly number[], positions: readonly number[]): Promise<Placed[]>
}

/** A publication and the head of the stream in which it lies. */
type Placed = Publication & { readonly head: number }

/** What the hub reads of a stream. */
export interface Single {
  readonly epoch: string
  readonly top: number
  readonly missed: readonly Publication[] | undefined
}

export interface Range {
  readonly after: number
  readonly limit: number
  readonly reverse: boolean
}

/** Somebody further behind than this starts anew: reading the current state is cheaper. */
const RECOVER_MAX = 1_000
/** Reads joined into one query. */
const READS_MAX = 200

interface Waiting {
  readonly channel: string
  readonly since: Since | undefined
  readonly resolve: (result: Recovered) => void
  readonly reject: (error: unknown) => void
}

/** SQL expressions for the type and the payload of a stream row `e`. */
function expressions(kinds: ReadonlyMap<number, EventType>): { type: string; payload: string } {
  const types = [...kinds].map(([kind, { type }]) => `when ${kind} then '${type}'`)
  const contents = [...kinds].flatMap(([kind, { content }]) =>
    content === undefined ? [] : [`when ${kind} then coalesce(e.payload, ${content}, '{}')`],
  )
  const otherwise = `coalesce(e.payload, '{}')`
  return {
    // A number that this version does not know was written by a newer one during a deploy.
    type: types.length === 0 ? `'unknown'` : `case e.kind ${types.join(' ')} else 'unknown' end`,
    payload:
      contents.length === 0 ? otherwise : `case e.kind ${contents.join(' ')} else ${otherwise} end`,
  }
}

/** Makes the reader of a server's streams. */
export function createRecovery(
  db: Database,
  heads: Heads,
  kinds: ReadonlyMap<number, EventType>,
  render: Pick<StreamRenderer, 'publicationSql'>,
): Recovery {
  const { type, payload } = expressions(kinds)
  const columns = `e.position::float8 as offset, ${type} as type, ${payload} as payload`
  const missedQuery = missedSql(render.publicationSql(type, payload))
  let waiting: Waiting[] = []
  const flush = () => {
    const all = waiting
    waiting = []
    for (let i = 0; i < all.length; i += READS_MAX) {
      void answer(db, heads, missedQuery, all.slice(i, i + READS_MAX))
    }
  }
  const range: Recovery['range'] = async (channel, { after, limit, reverse }) => {
    await heads.ensure([channel])
    const head = heads.known(channel) as Head
    const order = reverse ? 'desc' : 'asc'
    const rows = await db.read((sql) =>
      sql.unsafe<(Publication & { top: number })[]>(
        `select h.top::float8 as top, ${columns} from stream_heads h
         left join lateral (
           select * from stream_events
           where head = h.id and position > $2 and position <= h.top
           order by position ${order} limit $3) e on true
         where h.id = $1 order by e.position ${order}`,
        [head.id, after, limit],
      ),
    )
    const events = rows.filter(({ offset }) => offset !== null)
    return { ...head, top: rows[0]?.top ?? 0, events }
  }
  return {
    range,
    read(channel, since) {
      return new Promise((resolve, reject) => {
        if (waiting.length === 0) setImmediate(flush)
        waiting.push({ channel, since, resolve, reject })
      })
    },
    async after(channel, since) {
      const { offset } = since
      const read = await range(channel, { after: offset, limit: RECOVER_MAX, reverse: false })
      const { epoch, top, events } = read
      const whole = epoch === since.epoch && events.length === top - offset
      return { epoch, top, missed: whole ? events : undefined }
    },
    async tops(channels) {
      const rows = await db.read(
        (sql) => sql<{ channel: string; top: number }[]>`
          select channel, top::float8 as top from stream_heads
          where channel = any(${textArray(channels)}::text::text[])`,
      )
      return new Map(rows.map(({ channel, top }) => [channel, top]))
    },
    at(ids, positions) {
      return db.read((sql) =>
        sql.unsafe<Placed[]>(
          `select e.head::float8 as head, ${columns}
           from unnest($1::text::bigint[], $2::text::bigint[]) with ordinality u(head, position, n)
           join stream_events e on e.head = u.head and e.position = u.position order by u.n`,
          [plainArray(ids), plainArray(positions)],
        ),
      )
    },
  }
}

interface MissedRow {
  readonly n: number
  readonly top: number
  readonly count: number
  readonly text: string | null
}

/** One snapshot for heads and events, so that the events are exactly those up to the top. */
function missedSql(publication: string): string {
  return `
    select u.n::int as n, h.top::float8 as top, missed.count, missed.text
    from unnest($1::text::bigint[], $2::text::text[], $3::text::bigint[])
      with ordinality u(id, epoch, since, n)
    join stream_heads h on h.id = u.id
    cross join lateral (
      select count(*)::int as count,
        string_agg(${publication}, ',' order by e.position) as text
      from stream_events e
      where e.head = h.id and h.epoch = u.epoch and h.top - u.since <= ${RECOVER_MAX}
        and e.position > u.since and e.position <= h.top) missed`
}

/** Answers up to READS_MAX readers with one query, whatever they ask. */
async function answer(
  db: Database,
  heads: Heads,
  missedQuery: string,
  asked: readonly Waiting[],
): Promise<void> {
  try {
    const plain = asked.every(({ since }) => since === undefined)
    if (!plain) await heads.ensure(asked.map(({ channel }) => channel))
    const rows = plain
      ? await selectTops(db, heads, asked)
      : await db.read((sql) => selectMissed(sql, heads, missedQuery, asked))
    const byIndex = new Array<MissedRow | undefined>(asked.length)
    for (const row of rows) byIndex[row.n - 1] = row
    for (const [n, { channel, since, resolve }] of asked.entries()) {
      const { top, count, text } = byIndex[n] ?? { top: 0, count: 0, text: null }
      const { epoch } = heads.known(channel) as Head
      const whole = since?.epoch === epoch && since.offset <= top && count === top - since.offset
      resolve({ epoch, top, missed: whole ? { count, text: text ?? '' } : undefined })
    }
  } catch (error) {
    for (const { reject } of asked) reject(error)
  }
}

/** Positions alone, by name: one query also for those who connect for the first time here. */
async function selectTops(
  db: Database,
  heads: Heads,
  asked: readonly Waiting[],
): Promise<MissedRow[]> {
  const names = textArray(asked.map(({ channel }) => channel))
  const select = () =>
    db.read(
      (sql) => sql<(MissedRow & Head & { channel: string })[]>`
        select u.n::int as n, h.id::float8 as id, h.channel, h.epoch, h.top::float8 as top,
          0 as count, null as text
        from unnest(${names}::text::text[]) with ordinality u(channel, n)
        join stream_heads h on h.channel = u.channel`,
    )
  let rows = await select()
  if (rows.length < asked.length) {
    await heads.ensure(asked.map(({ channel }) => channel))
    rows = await select()
  }
  for (const { channel, id, epoch } of rows) heads.remember(channel, { id, epoch })
  return rows
}

function selectMissed(
  sql: SQL,
  heads: Heads,
  missedQuery: string,
  asked: readonly Waiting[],
): Promise<MissedRow[]> {
  return sql.unsafe<MissedRow[]>(missedQuery, [
    plainArray(asked.map(({ channel }) => heads.known(channel)?.id)),
    quotedArray(asked.map(({ since }) => since?.epoch ?? null)),
    plainArray(asked.map(({ since }) => since?.offset)),
  ])
}
