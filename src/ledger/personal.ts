import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import type { Caller } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import type { JsonObject } from '../kernel/effects.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { Accounts, closeAccount } from './accounts.ts'
import { walletsOf } from './balances.ts'
import { showBalance, showLine } from './shapes.ts'
import { statementOf } from './statement.ts'

/** What the ledger holds of a person. */

const LINES_AT_ONCE = 500

/** Every wallet and every transfer of a user. */
export async function* exportWallets(
  kernel: Kernel,
  sql: SQL,
  userId: string,
): AsyncIterable<{ section: string; item: JsonObject }> {
  const accounts = kernel.use(Accounts)
  for (const { id, asset, ...amounts } of await walletsOf(sql, userId)) {
    yield { section: 'wallets', item: showBalance(asset, amounts) }
    const account = await accounts.find(id, sql)
    if (account === undefined) throw new Error(`a wallet without its account ${id}`)
    let cursor: string | undefined
    do {
      const page = await statementOf(sql, account, { limit: LINES_AT_ONCE, cursor })
      for (const line of page.lines) {
        yield { section: 'wallet_transfers', item: showLine(line, account) }
      }
      cursor = page.nextCursor ?? undefined
    } while (cursor !== undefined)
  }
}

/**
 * Closes the wallets of somebody who leaves; nothing can be paid into them any more.
 * @throws Failure `conflict` that says what is left while there is something in one of them
 */
export async function forgetWallets(
  { kernel, tx }: WriteContext<Caller | null>,
  userId: string,
): Promise<void> {
  const accounts = kernel.use(Accounts)
  const left = (await walletsOf(tx.sql, userId))
    .filter(({ balance, held }) => balance > 0n || held > 0n)
    .map(({ asset, ...amounts }) => showBalance(asset, amounts))
  if (left.length > 0) throw stillThere(left)
  const open = (await tx.sql`
    select id::text from ledger_accounts
    where coalesce(owner, '00000000-0000-0000-0000-000000000000') = ${userId}
      and closed_at is null order by id`) as { id: string }[]
  for (const { id } of open) {
    const account = await accounts.find(Number(id), tx.sql)
    if (account !== undefined) await closeAccount(tx.sql, account)
  }
}

function stillThere(left: readonly ReturnType<typeof showBalance>[]): Failure {
  const amounts = left.map(({ asset, balance, held }) => {
    return `${balance} ${asset}${/[1-9]/.test(held) ? ` (${held} of it set aside)` : ''}`
  })
  const what = amounts.join(', ')
  return new Failure('conflict', `There is money left: ${what}. Have it paid out or spend it first`)
}
