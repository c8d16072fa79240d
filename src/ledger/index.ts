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
 * - Busy accounts go through `Lane`, which posts the acts of many callers together.
 *
 * May import the kernel, the database and identity's channel; no other feature, and no edge.
 */

export {
  type Account,
  type AccountKind,
  Accounts,
  type AccountSpec,
  closeAccount,
} from './accounts.ts'
export { type Act, type ActOutcome, type Entry, postedAct, type Refusal } from './act.ts'
export { balanceAt, balanceOf, walletsOf } from './balances.ts'
export { balanceChanged } from './channels.ts'
export { type BooksCheck, checkBooks } from './check.ts'
export { expireHolds } from './expire.ts'
export { Lane } from './lane.ts'
export { balanceEvents, postActs } from './post.ts'
export { reversalOf } from './reverse.ts'
export { equalParts, portion, proRata } from './split.ts'
export { csvLine, CSV_HEADER, statementOf } from './statement.ts'
