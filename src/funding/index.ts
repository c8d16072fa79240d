/**
 * Funding: how money comes in from outside. Payment providers tell by webhook, banks through two
 * administrators. Users ask for none of it: no path lets anybody credit themselves.
 *
 * - A webhook counts when its bytes are signed; an event counts once, a payment counts once
 *   whatever events tell of it, in any order.
 * - What the provider has told is kept in rows of their own (`store.ts`), and the ledger is made to
 *   agree with them (`payments.ts`); money for nobody known waits in an account of its own.
 * - Refunds and lost disputes are taken back as far as the money is there; the rest is owed and
 *   taken later. A wallet never goes below zero.
 *
 * May import the kernel, the database, approvals and the ledger; no other feature, and no edge.
 */

import { feature } from '../kernel/feature.ts'
import { paymentOperations } from './admin.ts'
import { bankOperations } from './bank.ts'
import { collectOwed } from './jobs.ts'
import { webhook } from './webhook.ts'

export { collectOwed } from './jobs.ts'

/** Funding, as `features.ts` mounts it. */
export const fundingFeature = feature({
  name: 'funding',
  operations: [webhook, ...paymentOperations, ...bankOperations],
  jobs: [collectOwed],
  personalData: {
    async *export(_kernel, sql, userId) {
      const rows = (await sql`
        select provider, payment_id, asset, amount::text, refunded::text, created_at
        from payments where user_id = ${userId} order by number`) as {
        provider: string
        payment_id: string
        asset: string | null
        amount: string | null
        refunded: string
        created_at: Date
      }[]
      for (const { created_at, ...item } of rows) {
        yield { section: 'payments', item: { ...item, created_at: created_at.toISOString() } }
      }
    },
    kept: ['Your payments and what the provider told of them, because books are kept ten years.'],
  },
})
