import type { SQL } from 'bun'
import type { WriteContext } from '../kernel/context.ts'
import type { Asset } from '../money/money.ts'
import { Accounts } from './accounts.ts'

/**
 * What may leave a wallet without a fresh second factor: so much of an asset within 24 hours, all
 * ways out together. An asset that is not in the table needs the second factor always.
 */
export const SPENDING_FREE: Readonly<Record<string, { readonly minor: bigint; why: string }>> = {
  EUR: { minor: 100_000n, why: '1,000 EUR: what somebody may lose to a stolen session' },
  MSAT: { minor: 1_000_000_000n, why: '0.01 BTC: some 1,000 EUR, without asking for a rate' },
  T4G: { minor: 100_000n, why: '1,000 T4G: more than a year of mentoring earns' },
  TK: { minor: 1_000n * 10n ** 18n, why: '1,000 TK: bought one to one with euros' },
  TKI: { minor: 100_000n * 10n ** 18n, why: '100,000 TKI: settled as 1,000 TK' },
}

/**
 * Acts that take money out of a user's hands, whether they transfer it at once or hold it first. A
 * feature with a new way out adds its kind, and asks `needsStepUp` before it.
 */
const COUNTED = ['wallet.transfer', 'payouts.request']

/** Class of the advisory locks: one a user. */
const SPENDING_LOCK = 0x5350_454e

/**
 * Whether spending this much, with what the user has spent in the last 24 hours, needs a fresh
 * second factor. Locks the user's spending until the transaction ends: of ten payments of 999 at
 * once, each sees those before it. Take no account's lock before.
 *
 * @param amount in minor units
 */
export async function needsStepUp(
  ctx: WriteContext,
  { code }: Asset,
  amount: bigint,
): Promise<boolean> {
  const { tx, kernel, actor } = ctx
  await tx.sql`select pg_advisory_xact_lock(${SPENDING_LOCK}, hashtext(${actor.userId}))`
  const free = SPENDING_FREE[code]?.minor
  if (free === undefined || amount > free) return true
  const spec = { asset: code, kind: 'wallet', owner: actor.userId } as const
  const wallet = await kernel.use(Accounts).lookup(spec)
  if (wallet === undefined) return false
  return (await spentLately(tx.sql, wallet.id)) + amount > free
}

/** What went out of a wallet in the last 24 hours, in minor units; released holds do not count. */
export async function spentLately(sql: SQL, wallet: number): Promise<bigint> {
  const kinds = `{${COUNTED.join(',')}}`
  const [row] = (await sql`
    select coalesce(sum(amount), 0)::text as spent from (
      select t.amount from ledger_transfers t join ledger_acts a on a.id = t.act
      where t.debit = ${wallet} and t.at > clock_timestamp() - interval '24 hours'
        and a.kind = any(${kinds}::text::text[])
      union all
      select h.amount from ledger_holds h join ledger_acts a on a.id = h.opened
      where h.account = ${wallet} and a.at > clock_timestamp() - interval '24 hours'
        and h.state in ('open', 'posted') and a.kind = any(${kinds}::text::text[])
    ) lately`) as [{ spent: string }]
  return BigInt(row.spent)
}
