import { oneOf, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import { AssetCode, formatAmount } from '../money/money.ts'
import { type Account, ACCOUNT_KINDS } from './accounts.ts'
import type { Wallet } from './balances.ts'
import { Balance } from './channels.ts'
import type { StatementLine } from './statement.ts'

/** What the ledger looks like on the wire. Amounts are decimal texts. */

/** An amount as the server answers; below zero for what went out. */
export const Decimal = t.String({ pattern: '^-?[0-9]+(\\.[0-9]+)?$', examples: ['-12.50'] })
/** A number of the ledger's own: acts and accounts. */
export const LedgerId = t.String({ pattern: '^[1-9][0-9]{0,17}$', examples: ['4711'] })
const Reference = t.Union([t.Object({ type: t.String(), id: t.String() }), t.Null()])

/** One wallet of a user. */
export const WalletBalance = t.Object({
  ...Balance.properties,
  name: t.String({ description: 'What the asset is called' }),
  scale: t.Integer({ minimum: 0, maximum: 18, description: 'Decimals of its amounts' }),
  transferable: t.Boolean({ description: 'Whether users may send it to each other' }),
})

/** Renders a wallet. */
export function showWallet({ asset, balance, held }: Omit<Wallet, 'id'>) {
  return {
    ...showBalance(asset, { balance, held }),
    name: asset.name,
    scale: asset.scale,
    transferable: asset.transferable,
  }
}

/** Renders a balance. */
export function showBalance(
  asset: Account['asset'],
  { balance, held }: { readonly balance: bigint; readonly held: bigint },
): Static<typeof Balance> {
  return {
    asset: asset.code,
    balance: formatAmount(balance, asset),
    held: formatAmount(held, asset),
    available: formatAmount(balance - held, asset),
  }
}

/** One line of a statement. */
export const StatementItem = t.Object({
  id: t.String({ description: 'Act and place of the transfer: unique in the ledger' }),
  at: Timestamp,
  kind: t.String({ description: 'What happened: `wallet.transfer`' }),
  label: t.Union([t.String(), t.Null()]),
  reference: Reference,
  asset: AssetCode,
  amount: Decimal,
  balance: t.String({ description: 'Of the account after it' }),
  peer_id: t.Union([Uuid, t.Null()], { description: 'The user on the other side, if it is one' }),
  reverses: t.Union([LedgerId, t.Null()], { description: 'The act that this one takes back' }),
})

/** Renders a line. */
export function showLine(line: StatementLine, { asset }: Pick<Account, 'asset'>) {
  const { refType, refId } = line
  return {
    id: `${line.act}.${line.n}`,
    at: line.at,
    kind: line.kind,
    label: line.label,
    reference: refType === null || refId === null ? null : { type: refType, id: refId },
    asset: asset.code,
    amount: formatAmount(line.amount, asset),
    balance: formatAmount(line.balance, asset),
    peer_id: line.peer,
    reverses: line.reverses,
  }
}

/** A transfer between users, as its sender sees it. */
export const SentTransfer = t.Object({
  id: Uuid,
  act_id: LedgerId,
  to_user_id: Uuid,
  asset: AssetCode,
  amount: t.String(),
  note: t.Union([t.String(), t.Null()]),
  balance: Balance,
})

/** What every account shows of itself. */
const accountFields = {
  id: LedgerId,
  asset: AssetCode,
  kind: oneOf(ACCOUNT_KINDS),
  owner_id: t.Union([Uuid, t.Null()]),
  reference: t.String(),
}

/** An account as an administrator sees it. */
export const LedgerAccount = t.Object({
  ...accountFields,
  balance: Decimal,
  held: t.String(),
  available: Decimal,
  opened_at: Timestamp,
  closed_at: t.Union([Timestamp, t.Null()]),
})

/** An act with everything in it. */
export const LedgerAct = t.Object({
  id: LedgerId,
  at: Timestamp,
  kind: t.String(),
  label: t.Union([t.String(), t.Null()]),
  reference: Reference,
  actor: t.Union([t.String(), t.Null()]),
  reverses: t.Union([LedgerId, t.Null()]),
  reversed_by: t.Union([LedgerId, t.Null()]),
  transfers: t.Array(
    t.Object({
      n: t.Integer({ minimum: 1 }),
      asset: AssetCode,
      amount: t.String(),
      debit: t.Object(accountFields),
      credit: t.Object(accountFields),
    }),
  ),
  holds: t.Array(
    t.Object({
      id: Uuid,
      account_id: LedgerId,
      asset: AssetCode,
      amount: t.String(),
      state: oneOf(['open', 'posted', 'voided', 'expired']),
    }),
    { description: 'Holds that it made or ended' },
  ),
})

/** Whether the books are coherent. */
export const CheckedBooks = t.Object({
  coherent: t.Boolean(),
  checked_at: Timestamp,
  assets: t.Array(
    t.Object({
      asset: AssetCode,
      accounts: t.Integer(),
      transfers: t.Integer(),
      sum: t.String({ description: 'Of all balances, in minor units: 0 when the books balance' }),
    }),
  ),
  findings: t.Array(t.String()),
})
export type CheckedBooks = Static<typeof CheckedBooks>
