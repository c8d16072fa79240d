import { sqlState } from '../../db/transaction.ts'
import { Failure } from '../base/errors.ts'
import type { WriteContext } from '../kernel/context.ts'
import type { Account } from './accounts.ts'
import { type Act, postedAct } from './act.ts'
import { balanceEvents, lockAccounts, postActs, type Posting } from './post.ts'

/**
 * How long an operation waits for an account that another transaction has locked. In milliseconds;
 * shorter than what clients wait for an answer.
 */
const LOCK_MS = 5_000

/**
 * Posts acts as the last thing that a handler does: all of them, or the failure of the first that
 * is refused, which undoes the transaction. Tells the owners of the wallets.
 *
 * @returns the ids of the acts, and where the accounts stand
 * @throws Failure by `REFUSALS`, or `unavailable` when an account stays locked
 */
export async function bookActs(
  { tx, emit }: Pick<WriteContext<unknown>, 'tx' | 'emit'>,
  acts: readonly Act[],
): Promise<{ readonly ids: readonly bigint[] } & Posting> {
  return await unlessBusy(async () => {
    const posting = await postActs(tx.sql, acts, { lockMs: LOCK_MS })
    const ids = posting.outcomes.map(postedAct)
    for (const event of balanceEvents(posting.standings)) emit(event)
    return { ids, ...posting }
  })
}

/**
 * Locks accounts until the transaction ends, for acts whose amount depends on what is there. Name
 * all that the transaction will post on, so that they are locked in order.
 *
 * @returns what can be spent of each, in minor units
 * @throws Failure `unavailable` when an account stays locked
 */
export async function lockForBooking(
  { tx }: Pick<WriteContext<unknown>, 'tx'>,
  accounts: readonly Account[],
): Promise<(account: Account) => bigint> {
  const standings = await unlessBusy(() => lockAccounts(tx.sql, accounts, { lockMs: LOCK_MS }))
  const free = new Map(standings.map((one) => [one.account.id, one.balance - one.held]))
  return ({ id }) => {
    const amount = free.get(id)
    if (amount === undefined) throw new Error(`account ${id} was not locked`)
    return amount
  }
}

async function unlessBusy<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (sqlState(error) !== '55P03') throw error
    throw new Failure('unavailable', 'The account is busy', { retryAfterMs: 1_000, cause: error })
  }
}
