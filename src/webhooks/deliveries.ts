import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import { badCursor, encodeCursor, pageOf } from '../kernel/cursor.ts'
import { waitMs } from './retry.ts'
import type { Delivery } from './shapes.ts'
import type { Message } from './signature.ts'

/** The table of deliveries. */

/** A row as owners see it. */
interface DeliveryRow {
  readonly id: string
  readonly endpoint_id: string
  readonly number: number
  readonly message_id: string
  readonly type: string
  readonly state: Delivery['state']
  readonly attempts: number
  readonly due_at: Date
  readonly attempted_at: Date | null
  readonly status: number | null
  readonly error: string | null
  readonly duration_ms: number | null
  readonly answer: string | null
  readonly created_at: Date
}

const COLUMNS = `id, endpoint_id, number::float8 as number, message_id, type, state, attempts,
  due_at, attempted_at, status, error, duration_ms, answer, created_at`

/** A delivery to be. */
export interface NewDelivery extends Message {
  readonly type: string
}

/** Inserts deliveries that are due at once, in their order. */
export async function insertDeliveries(
  sql: SQL,
  endpointId: string,
  nowMs: number,
  messages: readonly NewDelivery[],
): Promise<void> {
  const rows = messages.map(({ id, type, body }, n) => {
    return { n, id: uuidv7(nowMs), message_id: id, type, body }
  })
  await sql`
    insert into webhook_deliveries
      (id, endpoint_id, message_id, type, body, state, due_at, created_at)
    select id, ${endpointId}, message_id, type, body, 'pending', now(), now()
    from json_to_recordset(${JSON.stringify(rows)}::text::json)
      as row(n int, id uuid, message_id text, type text, body text)
    order by n`
}

/** A delivery whose turn it is. */
export interface DueDelivery {
  readonly id: string
  readonly message_id: string
  readonly body: string
  readonly attempts: number
}

/** The first few deliveries of an endpoint that are due, in their order. */
export async function dueDeliveries(
  sql: SQL,
  endpointId: string,
  limit: number,
): Promise<readonly DueDelivery[]> {
  return await sql<DueDelivery[]>`
    select id, message_id, body, attempts from webhook_deliveries
    where endpoint_id = ${endpointId} and state = 'pending' and due_at <= now()
    order by number limit ${limit}`
}

/** Milliseconds until the next delivery of an endpoint is due; undefined when none waits. */
export async function nextDueMs(sql: SQL, endpointId: string): Promise<number | undefined> {
  const [row] = await sql<{ wait: number | null }[]>`
    select extract(epoch from min(due_at) - clock_timestamp())::float8 * 1000 as wait
    from webhook_deliveries where endpoint_id = ${endpointId} and state = 'pending'`
  return row?.wait == null ? undefined : Math.max(0, row.wait)
}

/** How an attempt ended. */
export interface Attempt {
  readonly ok: boolean
  readonly status: number | null
  readonly error: string | null
  readonly durationMs: number
  readonly answer: string | null
  /** What the other side has asked to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined
}

/**
 * Writes down an attempt and when the next one is. Nothing happens when another has been written
 * down meanwhile.
 */
export async function recordAttempt(
  sql: SQL,
  { id, attempts }: Pick<DueDelivery, 'id' | 'attempts'>,
  { ok, status, error, durationMs, answer, retryAfterMs }: Attempt,
): Promise<void> {
  const wait = ok ? undefined : waitMs(attempts + 1, retryAfterMs)
  const state = ok ? 'delivered' : wait === undefined ? 'failed' : 'pending'
  await sql`
    update webhook_deliveries set state = ${state}, attempts = attempts + 1,
      due_at = now() + ${wait ?? 0}::float8 * interval '1 millisecond', attempted_at = now(),
      status = ${status}, error = ${error}, duration_ms = ${durationMs}, answer = ${answer}
    where id = ${id} and attempts = ${attempts}`
}

/** Writes down a delivery that was tried once, by hand. */
export async function insertTried(
  sql: SQL,
  endpointId: string,
  nowMs: number,
  { id: messageId, type, body }: NewDelivery,
  { ok, status, error, durationMs, answer }: Attempt,
): Promise<DeliveryRow> {
  const id = uuidv7(nowMs)
  await sql`
    insert into webhook_deliveries (id, endpoint_id, message_id, type, body, state, attempts,
      due_at, attempted_at, status, error, duration_ms, answer, created_at)
    values (${id}, ${endpointId}, ${messageId}, ${type}, ${body}, ${ok ? 'delivered' : 'failed'},
      1, now(), now(), ${status}, ${error}, ${durationMs}, ${answer}, now())`
  const [row] = await sql.unsafe<DeliveryRow[]>(
    `select ${COLUMNS} from webhook_deliveries where id = $1`,
    [id],
  )
  return row as DeliveryRow
}

/**
 * Makes a delivery due now, whatever has become of it.
 * @throws Failure `not_found`
 */
export async function dueAgain(sql: SQL, endpointId: string, id: string): Promise<DeliveryRow> {
  const [row] = await sql.unsafe<DeliveryRow[]>(
    `update webhook_deliveries set state = 'pending', due_at = now()
     where id = $1 and endpoint_id = $2 returning ${COLUMNS}`,
    [id, endpointId],
  )
  if (row === undefined) throw new Failure('not_found', 'This webhook has no such delivery')
  return row
}

/** Deliveries of an endpoint, the newest first. */
export async function listDeliveries(
  sql: SQL,
  endpointId: string,
  options: {
    readonly limit: number
    readonly cursor: string | undefined
    readonly state: Delivery['state'] | undefined
  },
): Promise<{ items: Delivery[]; next_cursor: string | null }> {
  const { limit, cursor, state = null } = options
  const rows = await sql.unsafe<DeliveryRow[]>(
    `select ${COLUMNS} from webhook_deliveries
     where endpoint_id = $1 and number < $2 and ($3::text is null or state = $3)
     order by number desc limit $4`,
    [endpointId, numberOf(cursor), state, limit + 1],
  )
  const { items, next_cursor } = pageOf(rows, limit, (row) => encodeCursor([String(row.number)]))
  return { items: items.map(describeDelivery), next_cursor }
}

function numberOf(cursor: string | undefined): number {
  if (cursor === undefined) return Number.MAX_SAFE_INTEGER
  const text = Buffer.from(cursor, 'base64url').toString()
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(Number(text))) throw badCursor()
  return Number(text)
}

/** A delivery as owners see it. */
export function describeDelivery(row: DeliveryRow): Delivery {
  return {
    id: row.id,
    webhook_id: row.endpoint_id,
    message_id: row.message_id,
    type: row.type,
    state: row.state,
    attempts: row.attempts,
    due_at: row.state === 'pending' ? row.due_at.toISOString() : null,
    attempted_at: row.attempted_at?.toISOString() ?? null,
    status: row.status,
    error: row.error,
    duration_ms: row.duration_ms,
    answer: row.answer,
    created_at: row.created_at.toISOString(),
  }
}
