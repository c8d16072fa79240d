import type { SQL } from 'bun'
import { standingKeys } from '../api-keys/index.ts'
import { jitter } from '../base/ids.ts'
import { t, Uuid } from '../base/schema.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { type PerformContext, Postponed, queue } from '../kernel/queue.ts'
import { attempt, GONE, type Sendable } from './attempt.ts'
import {
  type Attempt,
  dueDeliveries,
  type DueDelivery,
  nextDueMs,
  recordAttempt,
} from './deliveries.ts'
import { disableEndpoint } from './disable.ts'
import { FAILING_MS_MAX, pauseMs } from './retry.ts'

/**
 * Sends what is due to one endpoint, until nothing is. There is one sender for an endpoint at a
 * time (a lease in its row), so that with `parallel` 1 events come in their order; a delivery that
 * fails waits for its next attempt and holds up no other.
 *
 * A sender that dies leaves its deliveries pending, sent or not: they are sent again by whoever
 * takes the job over. That is what "at least once" says.
 */

/** How long a silent sender keeps its endpoint, in ms; an attempt takes 17 s at most. */
const LEASE_MS = 25_000
/** Somebody else is sending: when to look again, in ms. */
const BUSY_MS = 1_000
/** After this a sender lets others have its place, in ms. */
const SHIFT_MS = 60_000

export const sendQueue = queue('webhooks', {
  description: 'Endpoints of webhooks for which something waits to be sent',
  payload: t.Object({ endpoint_id: Uuid }),
  // They wait for other people's servers most of the time.
  concurrency: 32,
  deadlineMs: SHIFT_MS + LEASE_MS,
  triesMax: 20,
  backoffMs: 1_000,
  perform: send,
})

/** An endpoint that one sender has for itself. */
interface Held extends Sendable {
  readonly key_id: string | null
  readonly parallel: number
  readonly failures: number
  /** Milliseconds for which it wants nothing. */
  readonly quiet: number
}

async function send(
  { kernel, job, signal }: PerformContext,
  { endpoint_id: id }: { endpoint_id: string },
): Promise<void> {
  const { clock, db } = kernel
  const shiftEndsMs = clock.monotonicMs() + SHIFT_MS
  for (;;) {
    signal.throwIfAborted()
    const endpoint = await hold(db.sql, id, job.id)
    if (endpoint === undefined) return await refuse(db.sql, id)
    if (await keyHasEnded(kernel, endpoint)) return await disableEndpoint(kernel, id, 'key_ended')
    if (endpoint.quiet > 0) return await leave(db.sql, id, job.id, endpoint.quiet)
    // One that fails is asked carefully.
    const most = endpoint.failures === 0 ? endpoint.parallel : 1
    const due = await dueDeliveries(db.sql, id, most)
    if (due.length === 0) return await leave(db.sql, id, job.id, 0)
    await Promise.all(due.map((delivery) => deliver(kernel, endpoint, delivery, signal)))
    // The same job goes on, behind those that wait for a place.
    if (clock.monotonicMs() > shiftEndsMs) throw new Postponed(0, 'Others are waiting')
  }
}

/** Takes an endpoint, or keeps it; undefined when it is not there, not active, or another's. */
async function hold(sql: SQL, id: string, senderId: string): Promise<Held | undefined> {
  const [row] = await sql<Held[]>`
    update webhook_endpoints set sender_id = ${senderId},
      sender_until = now() + ${LEASE_MS}::float8 * interval '1 millisecond'
    where id = ${id} and state = 'active'
      and (sender_id is null or sender_id = ${senderId} or sender_until < now())
    returning id, key_id, url, parallel, secret, previous_secret, previous_until, failures,
      greatest(coalesce(extract(epoch from not_before - now())::float8 * 1000, 0), 0) as quiet`
  return row
}

/**
 * Why an endpoint could not be taken: nothing is to be done where it is not active.
 * @throws Postponed where another sender has it, who may have looked before our delivery was there
 */
async function refuse(sql: SQL, id: string): Promise<void> {
  const [row] = await sql`select from webhook_endpoints where id = ${id} and state = 'active'`
  if (row !== undefined) throw new Postponed(jitter(BUSY_MS, 0.2), 'Somebody else is sending')
}

async function keyHasEnded({ db, clock }: Kernel, { key_id: keyId }: Held): Promise<boolean> {
  if (keyId === null) return false
  return (await standingKeys(db.sql, [keyId], clock.now())).size === 0
}

/**
 * Gives an endpoint back; looks only then what else waits, so that nothing falls between.
 * @throws Postponed until the next delivery is due, where there is one
 */
async function leave(sql: SQL, id: string, senderId: string, quietMs: number): Promise<void> {
  await sql`
    update webhook_endpoints set sender_id = null, sender_until = null
    where id = ${id} and sender_id = ${senderId}`
  const nextMs = await nextDueMs(sql, id)
  if (nextMs !== undefined) throw new Postponed(Math.max(nextMs, quietMs), 'Until the next is due')
}

async function deliver(
  kernel: Kernel,
  endpoint: Held,
  delivery: DueDelivery,
  signal: AbortSignal,
): Promise<void> {
  const message = { id: delivery.message_id, body: delivery.body }
  const made = await attempt(kernel, endpoint, message, signal)
  const longFailing = await kernel.db.transaction(async ({ sql }) => {
    await recordAttempt(sql, delivery, made)
    return await noteEndpoint(sql, endpoint.id, made)
  })
  if (made.status === GONE) await disableEndpoint(kernel, endpoint.id, 'gone')
  else if (longFailing) await disableEndpoint(kernel, endpoint.id, 'failing')
}

/**
 * Keeps count of an endpoint's failures in a row.
 * @returns whether it has been failing for too long
 */
async function noteEndpoint(sql: SQL, id: string, made: Attempt): Promise<boolean> {
  if (made.ok) {
    await sql`
      update webhook_endpoints set failing_since = null, failures = 0, not_before = null
      where id = ${id} and (failures > 0 or not_before is not null)`
    return false
  }
  const [row] = await sql<{ failures: number; long: boolean }[]>`
    update webhook_endpoints set failing_since = coalesce(failing_since, now()),
      failures = failures + 1
    where id = ${id}
    returning failures,
      failing_since < now() - ${FAILING_MS_MAX}::float8 * interval '1 millisecond' as long`
  const pause = pauseMs(row?.failures ?? 0, made.retryAfterMs)
  if (pause > 0) {
    await sql`
      update webhook_endpoints set not_before = greatest(not_before,
        now() + ${pause}::float8 * interval '1 millisecond')
      where id = ${id}`
  }
  return row?.long === true
}
