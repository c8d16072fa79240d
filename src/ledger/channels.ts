import { userChannel } from '../auth/index.ts'
import { t } from '../base/schema.ts'
import { event } from '../kernel/channel.ts'
import { AssetCode } from '../money/money.ts'

/** Where a wallet stands, as decimal texts. */
export const Balance = t.Object({
  asset: AssetCode,
  balance: t.String({ description: 'Everything in the wallet' }),
  held: t.String({ description: 'What is set aside for something undecided' }),
  available: t.String({ description: 'What can be spent: balance less held' }),
})

/** A wallet's balance has changed. A replay gives the balance as it is then. */
export const balanceChanged = event(userChannel, 'balance', {
  kind: 50,
  description: "The user's balance of one asset, after a change",
  payload: Balance,
  content: `(select json_build_object('asset', a.asset,
      'balance', ledger_decimal(a.balance, s.scale), 'held', ledger_decimal(a.held, s.scale),
      'available', ledger_decimal(a.balance - a.held, s.scale))::text
    from ledger_accounts a join ledger_assets s on s.code = a.asset where a.id = e.ref_a)`,
})
