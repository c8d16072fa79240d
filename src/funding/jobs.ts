import { uuidv7 } from '../kernel/ids.ts'
import type { Job } from '../kernel/job.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { internalRequest, unitOfWork } from '../kernel/unit-of-work.ts'
import { settle } from './payments.ts'
import { lockPayment } from './store.ts'

const DAY_MS = 86_400_000
/** Long enough for every dispute, and no longer: the bytes say what a payer is called. */
const BODY_KEPT_MS = 400 * DAY_MS
const AT_ONCE = 500

/** Tries again what was owed, in case there is something to take now; and forgets old bytes. */
export const collectOwed: Job = {
  name: 'funding.collect',
  description:
    'Takes refunds that are owed as soon as there is something; removes old event bodies',
  async run(kernel) {
    await collect(kernel)
    const { db, clock } = kernel
    const before = new Date(clock.now() - BODY_KEPT_MS)
    await db.read(
      async (sql) =>
        await sql`
          update payment_events set body = null
          where body is not null and received_at < ${before}`,
    )
  },
}

async function collect(kernel: Kernel): Promise<void> {
  const { db, clock } = kernel
  let after = '0'
  for (;;) {
    const owed = await db.read(
      async (sql): Promise<{ provider: string; paymentId: string; number: string }[]> =>
        await sql`
          select provider, payment_id as "paymentId", number::text from payments
          where trouble in ('refund_owed', 'disputed') and number > ${after}::text::bigint
          order by number limit ${AT_ONCE}`,
    )
    for (const key of owed) {
      const request = internalRequest(uuidv7(clock.now()))
      await unitOfWork(kernel, { actor: null, request }, async (ctx) => {
        await settle(ctx, await lockPayment(ctx.tx.sql, clock.date(), key))
      })
    }
    const last = owed.at(-1)
    if (last === undefined || owed.length < AT_ONCE) return
    after = last.number
  }
}
