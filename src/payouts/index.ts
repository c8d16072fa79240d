/**
 * Payouts: how money leaves to bank accounts. The owner asks, and the money is held; an
 * administrator agrees; what is approved goes to the bank in one order; what the bank answers posts
 * or frees what was held.
 *
 * - The states and their steps are one table (`states.ts`); a row is locked for every step.
 * - An order's bytes are stored before they are handed over, and handed over once (`orders.ts`).
 * - A new destination, and any within a day of a changed password or second factor, waits 24 hours.
 *
 * May import the kernel, the database, approvals, the ledger, identity's channel and the payout
 * driver; no other feature, and no edge.
 */

import { Failure } from '../base/errors.ts'
import { feature } from '../kernel/feature.ts'
import type { Job } from '../kernel/job.ts'
import { fail, file, files, order, queue, settle, settleFile } from './admin.ts'
import { approval } from './approval.ts'
import { payoutChanged } from './channels.ts'
import { deliverAll } from './orders.ts'
import { cancel, get, list, request } from './requests.ts'
import { isUnderWay, listPrepared } from './store.ts'

/** Every five minutes, and so after a crash: what is ordered has to get to the bank. */
export const deliverOrders: Job = {
  name: 'payouts.deliver',
  description: 'Hands orders over of which it is not known whether the bank has them',
  run: deliverAll,
  async dryRun({ db }) {
    return { orders_delivered: (await db.read(listPrepared)).length }
  },
}

/** Payouts, as `features.ts` mounts it. */
export const payoutsFeature = feature({
  name: 'payouts',
  operations: [
    request,
    list,
    get,
    cancel,
    ...approval.operations,
    queue,
    order,
    files,
    file,
    settle,
    fail,
    settleFile,
  ],
  events: [payoutChanged],
  jobs: [deliverOrders],
  async start(kernel) {
    await deliverAll(kernel)
    return () => undefined
  },
  personalData: {
    async *export(_kernel, sql, userId) {
      const rows = (await sql`
        select id, asset, amount::text, iban, name, state, reason, requested_at
        from payouts where user_id = ${userId} order by id`) as {
        id: string
        asset: string
        amount: string
        iban: string
        name: string
        state: string
        reason: string | null
        requested_at: Date
      }[]
      for (const { requested_at, ...item } of rows) {
        yield { section: 'payouts', item: { ...item, requested_at: requested_at.toISOString() } }
      }
    },
    async forget({ tx }, userId) {
      if (await isUnderWay(tx.sql, userId)) {
        throw new Failure('conflict', 'A payout is under way: wait for it, or take it back first')
      }
      await tx.sql`delete from payout_destinations where user_id = ${userId}`
    },
    kept: ['Your payouts with name and IBAN, because orders to banks are kept ten years.'],
  },
})
