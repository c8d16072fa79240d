/**
 * The ledger: the only writer of money. Double entry, integers, several assets.
 *
 * - A transfer is one immutable row from a debit to a credit account of the same asset, above zero:
 *   every asset sums to zero by construction.
 * - An act is transfers and holds that count together, once; its key is its idempotency.
 * - Balances change in the database's posting function alone, which inserts the transfers they come
 *   from; the server's role may not write any of these tables.
 * - Accounts are opened before they are locked, and locked in order of their ids. Post last in a
 *   transaction: what is posted stays locked until it ends.
 * - Busy accounts go through `PostingBatcher`, which posts the acts of many callers together.
 *
 * Operations: `wallet.*` for users (`operations.ts`), the books for administrators (`admin.ts`,
 * `reconciliation-operations.ts`), and what takes two of them (`reversal-operations.ts`).
 *
 * May import the kernel, the database, approvals and identity's channel; no other feature, no edge.
 */

import { feature } from '../kernel/feature.ts'
import { accounts, accountStatement, act, check } from './admin.ts'
import { balanceChanged } from './channels.ts'
import { expireHoldsJob } from './expire.ts'
import { balances, exportStatement, statement, transfer } from './operations.ts'
import { exportWallets, forgetWallets } from './personal.ts'
import { reconcileDaily } from './reconcile.ts'
import { enterStatement, reconcileNow, reconciliations } from './reconciliation-operations.ts'
import { reversals } from './reversal-operations.ts'

export { type Account, Accounts, type AccountSpec, closeAccount } from './accounts.ts'
export { type Act, type Entry, postedAct } from './act.ts'
export { bookActs, lockForBooking } from './book.ts'
export { balanceAt, balanceOf } from './balances.ts'
export { checkBooks } from './books-check.ts'
export { expireHolds, expireHoldsJob } from './expire.ts'
export { PostingBatcher } from './posting-batcher.ts'
export { isOpen, lockPeople } from './people.ts'
export { postActs } from './post.ts'
export { reconcileDaily } from './reconcile.ts'
export { reversalOf } from './reversal-act.ts'
export { needsStepUp } from './spending.ts'
export { equalParts, portion, proRata } from './split.ts'
export { statementOf } from './statement.ts'

/** The ledger, as `features.ts` mounts it. */
export const ledgerFeature = feature({
  name: 'ledger',
  operations: [
    balances,
    statement,
    exportStatement,
    transfer,
    check,
    accounts,
    accountStatement,
    act,
    ...reversals,
    enterStatement,
    reconciliations,
    reconcileNow,
  ],
  events: [balanceChanged],
  jobs: [expireHoldsJob, reconcileDaily],
  personalData: {
    export: exportWallets,
    forget: forgetWallets,
    kept: ['Your transfers with their notes, under your id, because books are kept ten years.'],
  },
})
