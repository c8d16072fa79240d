import { emission } from '../kernel/channel.ts'
import type { WriteContext } from '../kernel/context.ts'
import { type Account, Accounts, type Act, bookActs } from '../ledger/index.ts'
import { maskedIban } from '../money/iban.ts'
import { formatAmount } from '../money/money.ts'
import { type Payout, payoutChanged } from './channels.ts'
import { checkStep, type PayoutState } from './states.ts'
import { type PayoutRow, stepPayouts } from './store.ts'

/** The steps of a payout, and what each does in the ledger. */

/** What is paid: SEPA transfers euros. */
export const PAYOUT_ASSET = 'EUR'

/** Longer than any bank takes to answer; a hold has to end some day. */
export const HOLD_MS = 365 * 86_400_000

/** A payout as its owner sees it. */
export function showPayout(row: PayoutRow, asset: Account['asset'], nowMs: number): Payout {
  const { state, notBefore } = row
  const waiting = state === 'requested' && notBefore.getTime() > nowMs
  return {
    id: row.id,
    state,
    asset: row.asset,
    amount: formatAmount(row.amount, asset),
    iban: maskedIban(row.iban),
    name: row.name,
    reason: row.reason,
    held_until: waiting ? notBefore.toISOString() : null,
    requested_at: row.requestedAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  }
}

/** How a payout's acts look in the ledger. */
export function payoutAct(
  row: Pick<PayoutRow, 'id' | 'iban'>,
  step: 'request' | 'settle' | 'release',
  actor: string,
  entry: Act['entries'][number],
): Act {
  return {
    key: `payout:${row.id}:${step}`,
    kind: `payouts.${step}`,
    label: `Payout to ${maskedIban(row.iban)}`,
    reference: { type: 'payout', id: row.id },
    actor,
    entries: [entry],
  }
}

/** The wallet that a payout is held in. */
export async function walletOf({ kernel, tx }: WriteContext, row: PayoutRow): Promise<Account> {
  const spec = { asset: row.asset, kind: 'wallet', owner: row.userId } as const
  return await kernel.use(Accounts).open(spec, tx.sql)
}

/**
 * Takes locked payouts a step further, frees or posts what is held, and tells their owners.
 * @param bank where completed ones go
 * @throws Failure `conflict` for a step that one of them cannot take
 */
export async function step(
  ctx: WriteContext,
  rows: readonly PayoutRow[],
  to: PayoutState,
  more: {
    reason?: string
    fileId?: string
    bankReference?: string | undefined
    bank?: Account
  } = {},
): Promise<PayoutRow[]> {
  const { tx, clock, kernel, actor } = ctx
  for (const { state } of rows) checkStep(state, to)
  const { bank, ...change } = more
  const now = clock.date()
  const ids = rows.map(({ id }) => id)
  await stepPayouts(tx.sql, now, ids, { state: to, ...change })
  const asset = await kernel.use(Accounts).asset(PAYOUT_ASSET)
  const changed = rows.map((row) => ({ ...row, state: to, updatedAt: now, ...change }))
  for (const row of changed) {
    ctx.emit(emission(payoutChanged, row.userId, showPayout(row, asset, clock.now())))
    ctx.audit({
      action: `payouts.${to}`,
      target: { type: 'payout', id: row.id },
      after: {
        amount: formatAmount(row.amount, asset),
        asset: asset.code,
        ...(row.reason === null ? {} : { reason: row.reason }),
        ...(row.fileId === null ? {} : { file: row.fileId }),
      },
      subjectId: row.userId,
    })
  }
  const acts: Act[] = []
  for (const row of changed) {
    const on = { hold: row.id, account: await walletOf(ctx, row) }
    if (to === 'rejected' || to === 'failed') {
      acts.push(payoutAct(row, 'release', actor.userId, { type: 'void', ...on }))
    }
    if (to !== 'completed') continue
    if (bank === undefined) throw new Error('completed without the account of the bank')
    const entry = { type: 'post', ...on, credit: bank, amount: row.amount } as const
    acts.push(payoutAct(row, 'settle', actor.userId, entry))
  }
  if (acts.length > 0) await bookActs(ctx, acts)
  return changed
}
