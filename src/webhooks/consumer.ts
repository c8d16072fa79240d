import { standingKeys } from '../api-keys/index.ts'
import { uuidv7 } from '../base/ids.ts'
import { internalRequest } from '../kernel/access.ts'
import type { Kernel, StreamPage } from '../kernel/kernel.ts'
import { Loop } from '../kernel/loop.ts'
import { SERVICE_STREAM, type ServiceEvent } from '../kernel/service-event.ts'
import { unitOfWork } from '../kernel/write.ts'
import { insertDeliveries, type NewDelivery } from './deliveries.ts'
import { disableEndpoint } from './disable.ts'
import { streamHead } from './endpoints.ts'
import { sendQueue } from './sender.ts'

/**
 * Follows the stream of events for services, by a place in it for each endpoint: what comes after
 * it becomes deliveries, the place moves on, and the sender is woken, all in one transaction. So
 * every event becomes one delivery for each endpoint that wants it, whichever instance does it and
 * whatever dies in between; and to replay events is to move the place back.
 *
 * Every instance follows; who finds an endpoint locked leaves it to the other.
 */

const POLL_MS = 500
/** Endpoints looked at in one round, those furthest behind first. */
const ENDPOINTS_AT_ONCE = 100
/** Events taken for one endpoint in one transaction. */
const EVENTS_AT_ONCE = 200
/**
 * Deliveries of one endpoint that may wait. One that takes nothing leaves the rest in the stream,
 * so that a dead endpoint costs no more than this.
 */
export const WAITING_MAX = 1_000

/** Starts to follow; returns how to stop. */
export function startConsumer(kernel: Kernel): () => Promise<void> {
  const { clock, log } = kernel
  const loop = new Loop({
    clock,
    round: async () => ((await follow(kernel)) ? 0 : POLL_MS),
    failed: (error) => log.warn('webhooks do not follow their stream, trying again', { error }),
    retryMs: POLL_MS,
  })
  loop.kick()
  return () => loop.stop()
}

interface Behind {
  readonly id: string
  readonly key_id: string | null
  readonly epoch: string
  readonly position: number
}

/**
 * Takes what there is for those who are behind.
 * @returns whether somebody may still be behind and could be helped
 */
async function follow(kernel: Kernel): Promise<boolean> {
  const { db, clock } = kernel
  const [any] = await db.sql`select from webhook_endpoints where state = 'active' limit 1`
  if (any === undefined) return false
  const head = await streamHead(kernel)
  const behind = await db.sql<Behind[]>`
    select id, key_id, epoch, position::float8 as position from webhook_endpoints e
    where state = 'active' and (epoch <> ${head.epoch} or position < ${head.top}) and (
      select count(*) from (
        select from webhook_deliveries d
        where d.endpoint_id = e.id and d.state = 'pending' limit ${WAITING_MAX}) waiting
      ) < ${WAITING_MAX}
    order by position limit ${ENDPOINTS_AT_ONCE}`
  if (behind.length === 0) return false
  const keys = behind.flatMap(({ key_id: key }) => (key === null ? [] : [key]))
  const standing = await standingKeys(db.sql, keys, clock.now())
  const pages = pagesOf(kernel)
  let moved = 0
  for (const { id, key_id: key, epoch, position } of behind) {
    if (key !== null && !standing.has(key)) {
      await disableEndpoint(kernel, id, 'key_ended')
      continue
    }
    // In another life of the stream everything is new.
    const page = await pages(epoch === head.epoch ? position : 0)
    if (await take(kernel, id, page.after, page)) moved++
  }
  return moved > 0
}

type Piece = StreamPage & { readonly after: number }

/** Reads each piece of the stream once: most endpoints are at the same place. */
function pagesOf({ streams }: Kernel): (after: number) => Promise<Piece> {
  const read = new Map<number, Promise<Piece>>()
  return (after) => {
    let piece = read.get(after)
    if (piece === undefined) {
      piece = streams
        .page(SERVICE_STREAM, after, EVENTS_AT_ONCE)
        .then((page) => ({ ...page, after }))
      read.set(after, piece)
    }
    return piece
  }
}

/** Makes deliveries of one piece for one endpoint. @returns whether its place has moved */
async function take(
  kernel: Kernel,
  id: string,
  after: number,
  { epoch, top, events }: StreamPage,
): Promise<boolean> {
  const nowMs = kernel.clock.now()
  const last = events.at(-1)?.offset ?? top
  const first = events[0]?.offset ?? top + 1
  const who = { actor: null, request: internalRequest(uuidv7(nowMs)) }
  return await unitOfWork(kernel, who, async (ctx) => {
    const { sql } = ctx.tx
    const [row] = await sql<{ epoch: string; position: number; events: string[] }[]>`
      select epoch, position::float8 as position, events from webhook_endpoints
      where id = ${id} and state = 'active' for no key update skip locked`
    // Another instance was faster, or its owner has just moved or paused it.
    if (row === undefined || (row.epoch === epoch ? row.position : 0) !== after) return false
    const wanted = events
      .map(({ offset, payload }) => deliveryOf(epoch, offset, payload))
      .filter(({ type }) => row.events.length === 0 || row.events.includes(type))
    // How many there were in an earlier life of the stream, nobody knows.
    const lost = row.epoch === epoch ? first - after - 1 : 0
    const gap = lost > 0 || row.epoch !== epoch
    await sql`
      update webhook_endpoints set epoch = ${epoch}, position = ${last},
        missed = missed + ${lost}, missed_at = case when ${gap} then now() else missed_at end
      where id = ${id}`
    if (wanted.length > 0) {
      await insertDeliveries(sql, id, nowMs, wanted)
      ctx.enqueue(sendQueue, { endpoint_id: id }, { key: id })
    }
    if (gap) {
      const target = { type: 'webhook', id }
      ctx.audit({ action: 'webhooks.events_missed', outcome: 'failure', target, after: { lost } })
      ctx.afterCommit(() => kernel.log.warn('webhook has missed events', { webhook: id, lost }))
    }
    return true
  })
}

/** What is sent for an event of the stream, the same each time. */
function deliveryOf(epoch: string, offset: number, payload: string): NewDelivery {
  const { type, timestamp, data } = JSON.parse(payload) as ServiceEvent
  const body = JSON.stringify({ type, timestamp, epoch, offset, data })
  return { id: `msg_${epoch}_${offset}`, type, body }
}
