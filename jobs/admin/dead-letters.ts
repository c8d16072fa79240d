import { Buffer } from 'node:buffer'
import type { SQL } from 'bun'
import { Failure } from '../../src/base/errors.ts'
import { isUuid } from '../../src/base/ids.ts'
import { type Static, t, Timestamp, Uuid } from '../../src/base/schema.ts'
import type { WriteContext } from '../../src/kernel/context.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'
import { type Queue, QueueCatalog } from '../../src/kernel/queue.ts'
import { placeOf, VaultError } from '../../src/vault/vault.ts'

/** A job that was given up, as an administrator sees it. */
export const DeadLetter = t.Object({
  id: Uuid,
  queue: t.String(),
  key: t.Union([t.String(), t.Null()]),
  attempts: t.Integer(),
  error: t.String({ description: 'Why the last try failed, without secrets' }),
  sealed: t.Boolean({ description: 'The payload holds secrets and is shown to nobody' }),
  payload: t.Union([t.Record(t.String(), t.Unknown()), t.Null()]),
  worker_id: t.String({ description: 'The process that gave it up' }),
  enqueued_at: Timestamp,
  died_at: Timestamp,
})
export type DeadLetter = Static<typeof DeadLetter>

interface Row {
  readonly id: string
  readonly queue: string
  readonly key: string | null
  readonly payload: Uint8Array
  readonly attempts: number
  readonly error: string
  readonly worker_id: string
  readonly created_at: Date
  readonly died_at: Date
}

/** What to list. */
export interface Selection {
  readonly queue?: string | undefined
  readonly limit: number
  readonly cursor?: string | undefined
}

/**
 * Dead letters, newest first.
 * @throws Failure `validation_failed` for what is no cursor
 */
export async function listDeadLetters(
  kernel: Kernel,
  { queue, limit, cursor }: Selection,
): Promise<{ items: DeadLetter[]; next_cursor: string | null }> {
  const after = cursor === undefined ? undefined : positionOf(cursor)
  const rows = await kernel.db.read(
    async (sql): Promise<Row[]> =>
      await sql`
    select id, queue, key, payload, attempts, error, worker_id, created_at, died_at
    from dead_letters
    where (${queue ?? null}::text is null or queue = ${queue ?? null}::text)
      and (${after?.id ?? null}::uuid is null
        or (died_at, id) < (${after?.diedAt ?? null}::timestamptz, ${after?.id ?? null}::uuid))
    order by died_at desc, id desc limit ${limit + 1}`,
  )
  const queues = kernel.use(QueueCatalog)
  const page = rows.slice(0, limit)
  const last = page.at(-1)
  const more = rows.length > limit && last !== undefined
  return {
    items: page.map((row) => shown(row, queues.get(row.queue))),
    next_cursor: more ? `${last.died_at.getTime()}.${last.id}` : null,
  }
}

function positionOf(cursor: string): { diedAt: Date; id: string } {
  const [ms = '', id] = cursor.split('.')
  const diedAt = new Date(Number(ms))
  if (/^\d{1,15}$/.test(ms) && isUuid(id)) return { diedAt, id }
  throw new Failure('validation_failed', 'Not a cursor of this list', {
    errors: [{ path: '/cursor', message: 'is not a next_cursor of this list' }],
  })
}

function shown(row: Row, queue: Queue | undefined): DeadLetter {
  // Whether a queue of another version is sealed is not known here: then nothing is shown.
  const sealed = queue === undefined || queue.sealed === true
  return {
    id: row.id,
    queue: row.queue,
    key: row.key,
    attempts: row.attempts,
    error: row.error,
    sealed,
    payload: sealed ? null : plain(row.payload),
    worker_id: row.worker_id,
    enqueued_at: row.created_at.toISOString(),
    died_at: row.died_at.toISOString(),
  }
}

function plain(payload: Uint8Array): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(payload))
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? (value as Record<string, unknown>) : null
  } catch {
    return null
  }
}

/** Removes a dead letter. @throws Failure `not_found` */
async function take(sql: SQL, id: string): Promise<Row> {
  const [row] = await sql<Row[]>`delete from dead_letters where id = ${id} returning *`
  if (row === undefined) throw new Failure('not_found', 'No such dead letter')
  return row
}

/**
 * Removes a dead letter for good.
 * @returns its queue
 * @throws Failure `not_found`
 */
export async function discardDeadLetter(ctx: WriteContext, id: string): Promise<string> {
  const { queue, attempts } = await take(ctx.tx.sql, id)
  ctx.audit({
    action: 'queues.dead_letter_discarded',
    target: { type: 'dead_letter', id },
    before: { queue, attempts },
  })
  return queue
}

/**
 * Makes a dead letter a job again, with all its tries, due now and under its old id.
 * @returns its queue
 * @throws Failure `not_found` | `conflict` when its queue is unknown here, its secrets do not open,
 *   or a job with its key waits already
 */
export async function retryDeadLetter(ctx: WriteContext, id: string): Promise<string> {
  const { kernel, tx } = ctx
  const { queue, key, payload, attempts } = await take(tx.sql, id)
  const line = kernel.use(QueueCatalog).get(queue)
  if (line === undefined) {
    throw new Failure('conflict', `This server has no queue ${queue}`)
  }
  const bytes = line.sealed === true ? resealed(kernel, id, payload) : payload
  const inserted = await tx.sql`
    insert into queue_jobs (id, queue, key, payload, due_at, created_at)
    values (${id}, ${queue}, ${key}, ${`\\x${Buffer.from(bytes).toString('hex')}`}::text::bytea,
      date_trunc('milliseconds', clock_timestamp()),
      date_trunc('milliseconds', clock_timestamp()))
    on conflict (queue, key) where key is not null and lease_id is null do nothing`
  if (inserted.count === 0) {
    throw new Failure('conflict', 'A job with the same key waits already; discard this one')
  }
  ctx.audit({
    action: 'queues.dead_letter_retried',
    target: { type: 'dead_letter', id },
    before: { queue, attempts },
  })
  ctx.afterCommit(() => kernel.queues.committed())
  return queue
}

function resealed({ vault }: Kernel, id: string, payload: Uint8Array): Uint8Array {
  try {
    const open = vault.open(placeOf('dead_letters', 'payload', id), payload)
    return vault.seal(placeOf('queue_jobs', 'payload', id), open)
  } catch (error) {
    if (!(error instanceof VaultError)) throw error
    throw new Failure('conflict', 'Its payload does not open with the keys of this server')
  }
}
