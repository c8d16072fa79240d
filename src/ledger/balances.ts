import type { SQL } from 'bun'
import type { Asset } from '../money/money.ts'
import type { Account } from './accounts.ts'

/** What accounts hold, now and at any time before. */

/** Amounts in minor units. */
export interface BalanceNow {
  readonly balance: bigint
  readonly held: bigint
}

/** What an account holds now. */
export async function balanceOf(sql: SQL, account: Account): Promise<BalanceNow> {
  const [row] = (await sql`
    select balance::text, held::text from ledger_accounts where id = ${account.id}`) as [
    { balance: string; held: string },
  ]
  return { balance: BigInt(row.balance), held: BigInt(row.held) }
}

/**
 * What an account held at an instant, holds not counted: the balance after its last transfer until
 * then, from either side.
 *
 * @param at RFC 3339; what happened at this very microsecond counts
 */
export async function balanceAt(sql: SQL, account: Account, at: string): Promise<bigint> {
  const [row] = (await sql`
    select balance::text from (
      (select debit_after as balance, at, act, n from ledger_transfers
        where debit = ${account.id} and at <= ${at}::text::timestamptz
        order by at desc, act desc, n desc limit 1)
      union all
      (select credit_after, at, act, n from ledger_transfers
        where credit = ${account.id} and at <= ${at}::text::timestamptz
        order by at desc, act desc, n desc limit 1)
    ) last order by at desc, act desc, n desc limit 1`) as { balance: string }[]
  return row === undefined ? 0n : BigInt(row.balance)
}

/** A wallet with what is in it. */
export interface Wallet extends BalanceNow {
  readonly id: number
  readonly asset: Asset
}

/** Every wallet of a user, by asset. */
export async function walletsOf(sql: SQL, userId: string): Promise<Wallet[]> {
  const rows = (await sql`
    select a.id::text, a.balance::text, a.held::text, s.code, s.name, s.scale, s.transferable
    from ledger_accounts a join ledger_assets s on s.code = a.asset
    where coalesce(a.owner, '00000000-0000-0000-0000-000000000000') = ${userId}
      and a.kind = 'wallet' order by a.asset`) as ({
    id: string
    balance: string
    held: string
  } & Asset)[]
  return rows.map(({ id, balance, held, ...asset }) => ({
    id: Number(id),
    asset,
    balance: BigInt(balance),
    held: BigInt(held),
  }))
}
