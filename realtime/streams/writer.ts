import type { Database } from '../../db/client.ts'
import { plainArray, textArray } from '../../db/literals.ts'
import type { Tx } from '../../db/transaction.ts'
import type { Clock } from '../../src/base/clock.ts'
import type { Registry } from '../../src/kernel/feature.ts'
import { Loop } from '../../src/kernel/loop.ts'
import type { Logger } from '../../src/observe/log.ts'
import type { StreamEvent } from '../hub.ts'
import type { Heads } from './heads.ts'
import type { Recovery } from './recovery.ts'
import { insertEvents } from './rows.ts'

/** Gives offsets to what waits in the outbox. Every instance runs one; channels are shared out. */
export interface Writer {
  /** Something has been committed to the outbox. */
  kick(): void
  /** Stops after the round that is running. */
  stop(): Promise<void>
}

/** Channels and rows taken in one round: commits within milliseconds, whatever the backlog. */
const CHANNELS_MAX = 500
const ROWS_MAX = 5_000
/** How often rows are looked for that nobody announced (their instance has died), in ms. */
const POLL_MS = 250

export interface WriterParts {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  readonly heads: Heads
  readonly recovery: Recovery
  readonly registry: Registry
  readonly publish: (events: readonly StreamEvent[]) => void
  /** A round has failed, perhaps after its commit: then nobody has published its events. */
  readonly doubt: () => void
}

/** Starts the writer of this instance. */
export function startWriter(parts: WriterParts): Writer {
  /** Where the next round begins: a channel that is locked elsewhere must not hold up the rest. */
  let after = ''
  const loop = new Loop({
    clock: parts.clock,
    async round() {
      const { last, more } = await writeRound(parts, after)
      after = last
      return more ? 0 : POLL_MS
    },
    failed(error) {
      parts.log.warn('stream writer failed, trying again', { error })
      parts.doubt()
    },
    retryMs: POLL_MS,
  })
  loop.kick()
  return loop
}

interface Round {
  readonly last: string
  readonly more: boolean
}

async function writeRound(parts: WriterParts, after: string): Promise<Round> {
  const channels = await waitingChannels(parts.db, after)
  if (channels.length === 0) return { last: '', more: after !== '' }
  await parts.heads.ensure(channels)
  const taken = await parts.db.transaction((tx) => take(tx, parts, channels))
  if (taken.length > 0) await publish(parts, taken)
  const full = channels.length === CHANNELS_MAX
  // Nothing taken: others hold these heads. The next poll looks again; no spinning.
  return { last: full ? (channels.at(-1) as string) : '', more: taken.length > 0 || full }
}

/** Channels with waiting rows, by hops over the index: a backlog of millions costs little. */
async function waitingChannels(db: Database, after: string): Promise<string[]> {
  const rows = await db.sql<{ channel: string }[]>`
    with recursive hop(channel) as (
      (select channel from outbox where channel > ${after} order by channel limit 1)
      union all
      select (select o.channel from outbox o where o.channel > hop.channel
              order by o.channel limit 1)
      from hop where hop.channel is not null)
    select channel from hop where channel is not null limit ${CHANNELS_MAX}`
  return rows.map(({ channel }) => channel)
}

interface OutboxRow {
  readonly id: number
  readonly channel: string
  readonly kind: number
  readonly ref_a: number | null
  readonly ref_b: number | null
  readonly payload: string | null
  /** Where it has come to lie: given by `take`. */
  head: number
  position: number
}

/** Numbers what waits for the heads that are free, in the order of insertion. */
async function take(tx: Tx, parts: WriterParts, channels: readonly string[]): Promise<OutboxRow[]> {
  const { sql } = tx
  const ids = channels.map((channel) => parts.heads.known(channel)?.id)
  const locked = await sql<{ id: number; channel: string; top: number }[]>`
    select id::float8 as id, channel, top::float8 as top from stream_heads
    where id = any(${plainArray(ids)}::text::bigint[])
    order by id for no key update skip locked`
  if (locked.length === 0) return []
  // A statement of its own, after the locks: it must see what their last holders have committed.
  const rows = await sql<OutboxRow[]>`
    select id::float8 as id, channel, kind, ref_a::float8 as ref_a, ref_b::float8 as ref_b,
      payload, 0 as head, 0 as position
    from outbox where channel = any(${textArray(locked.map((h) => h.channel))}::text::text[])
    order by channel, id limit ${ROWS_MAX}`
  if (rows.length === 0) return []
  const heads = new Map(locked.map(({ channel, id, top }) => [channel, { id, top }]))
  for (const row of rows) {
    const head = heads.get(row.channel) as { id: number; top: number }
    row.head = head.id
    row.position = ++head.top
  }
  await insertEvents(sql, {
    ids: rows.map(({ head }) => head),
    positions: rows.map(({ position }) => position),
    kinds: rows.map(({ kind }) => kind),
    refA: rows.map(({ ref_a }) => ref_a),
    refB: rows.map(({ ref_b }) => ref_b),
    payloads: rows.map(({ payload }) => payload),
  })
  const moved = [...heads.values()]
  await sql`
    update stream_heads h set top = u.top
    from unnest(${plainArray(moved.map(({ id }) => id))}::text::bigint[],
                ${plainArray(moved.map(({ top }) => top))}::text::bigint[]) u(id, top)
    where h.id = u.id`
  await keepLatest(tx, parts.registry, rows)
  await sql`delete from outbox where id = any(${plainArray(rows.map((r) => r.id))}::text::bigint[])`
  return rows
}

/** A cache channel keeps its latest event only. */
async function keepLatest(tx: Tx, registry: Registry, rows: readonly OutboxRow[]): Promise<void> {
  const latest = new Map<number, number>()
  for (const { channel, head, position } of rows) {
    const namespace = channel.slice(0, channel.indexOf(':'))
    if (registry.channels.get(namespace)?.recovery === 'cache') latest.set(head, position)
  }
  if (latest.size === 0) return
  await tx.sql`
    delete from stream_events e
    using unnest(${plainArray([...latest.keys()])}::text::bigint[],
                 ${plainArray([...latest.values()])}::text::bigint[]) u(id, position)
    where e.head = u.id and e.position < u.position`
}

/** Reads back what was numbered, rendered as it is now, and passes it on. */
async function publish(parts: WriterParts, rows: readonly OutboxRow[]): Promise<void> {
  const events = await parts.recovery.at(
    rows.map(({ head }) => head),
    rows.map(({ position }) => position),
  )
  const channels = new Map(rows.map((row) => [`${row.head}/${row.position}`, row.channel]))
  parts.publish(
    events.map(({ head, offset, type, payload }) => {
      const channel = channels.get(`${head}/${offset}`) as string
      return { channel, offset, type, payload, skip: undefined }
    }),
  )
}
