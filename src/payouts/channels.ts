import { userChannel } from '../auth/index.ts'
import { oneOf, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import { event } from '../kernel/channel.ts'
import { AssetCode } from '../money/money.ts'
import { STATES } from './states.ts'

/** A payout as whoever asked for it sees it. */
export const Payout = t.Object({
  id: Uuid,
  state: oneOf(STATES),
  asset: AssetCode,
  amount: t.String(),
  iban: t.String({ description: 'Masked: `DE75…6199`' }),
  name: t.String(),
  reason: t.Union([t.String(), t.Null()], { description: 'Why it was rejected or failed' }),
  held_until: t.Union([Timestamp, t.Null()], {
    description: 'Not paid before: the destination is new, or a password or second factor is',
  }),
  requested_at: Timestamp,
  updated_at: Timestamp,
})
export type Payout = Static<typeof Payout>

/** A payout has gone a step further. */
export const payoutChanged = event(userChannel, 'payout', {
  kind: 52,
  description: 'A payout of yours has been requested, approved, ordered, paid, rejected or failed',
  payload: Payout,
})
