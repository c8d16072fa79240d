import { uuidv7 } from '../base/ids.ts'
import { internalRequest } from '../kernel/access.ts'
import type { Job } from '../kernel/job.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { unitOfWork } from '../kernel/write.ts'
import { settle } from './payments.ts'
import { lockPayment, type PaymentKey } from './store.ts'

const DAY_MS = 86_400_000
/** Long enough for every dispute, and no longer: the bytes say what a payer is called. */
const BODY_KEPT_MS = 400 * DAY_MS
const AT_ONCE = 500

/** Tries again what was owed, in case there is something to take now; and forgets old bytes. */
export const collectOwed: Job = {
  name: 'funding.collect',
  description:
    'Takes refunds that are owed as soon as there is something; removes old event bodies',
  run: async (kernel, signal) => ({
    ...(await collect(kernel, signal)),
    bodies_removed: await forgetBodies(kernel, signal),
  }),
  async dryRun({ db, clock }) {
    const [row] = await db.sql`
      select
        (select count(*) from payments where trouble in ('refund_owed', 'disputed'))::int as open,
        (select count(*) from payment_events
          where body is not null and received_at < ${endOfBodies(clock)})::int as bodies`
    return { payments_looked_at: row.open as number, bodies_removed: row.bodies as number }
  },
}

/** One payment that cannot be settled must not keep the others waiting. */
async function collect(kernel: Kernel, signal: AbortSignal | undefined) {
  const { db, log } = kernel
  const count = { payments_looked_at: 0, payments_collected: 0, payments_failed: 0 }
  let after = '0'
  for (;;) {
    const owed = await db.read(
      async (sql): Promise<(PaymentKey & { number: string })[]> =>
        await sql`
          select provider, payment_id as "paymentId", number::text from payments
          where trouble in ('refund_owed', 'disputed') and number > ${after}::text::bigint
          order by number limit ${AT_ONCE}`,
    )
    for (const key of owed) {
      signal?.throwIfAborted()
      count.payments_looked_at++
      try {
        if (await settleAgain(kernel, key)) count.payments_collected++
      } catch (error) {
        count.payments_failed++
        const { provider, paymentId } = key
        log.error('a payment could not be settled', { provider, payment: paymentId, error })
      }
    }
    const last = owed.at(-1)
    if (last === undefined || owed.length < AT_ONCE) return count
    after = last.number
  }
}

/** @returns whether anything was taken */
async function settleAgain(kernel: Kernel, key: PaymentKey): Promise<boolean> {
  const { clock } = kernel
  const request = internalRequest(uuidv7(clock.now()))
  return await unitOfWork(kernel, { actor: null, request }, async (ctx) => {
    const before = await lockPayment(ctx.tx.sql, clock.date(), key)
    return (await settle(ctx, before)).returned > before.returned
  })
}

const endOfBodies = (clock: Kernel['clock']) => new Date(clock.now() - BODY_KEPT_MS)

async function forgetBodies({ db, clock }: Kernel, signal: AbortSignal | undefined) {
  let removed = 0
  for (;;) {
    signal?.throwIfAborted()
    const { count } = await db.sql`
      update payment_events set body = null where ctid = any(array(
        select ctid from payment_events
        where body is not null and received_at < ${endOfBodies(clock)} limit ${AT_ONCE}))`
    removed += count as number
    if (count < AT_ONCE) return removed
  }
}
