import type { SQL } from 'bun'
import { fourEyes } from '../approvals/index.ts'
import { Failure } from '../base/errors.ts'
import { type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import type { WriteContext } from '../kernel/context.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { type Account, Accounts, lockPeople } from '../ledger/index.ts'
import { AssetCode, formatAmount } from '../money/money.ts'
import { HOLD_MS, PAYOUT_ASSET, step } from './steps.ts'
import { lockPayout, openHolds, type PayoutRow } from './store.ts'

/**
 * The second person, and what they have agreed to: what is paid is compared with that, which
 * nobody can change, and not taken from the payout's row alone.
 */

const Details = t.Object({
  for_user_id: Uuid,
  asset: AssetCode,
  amount: t.String(),
  iban: t.String(),
  name: t.String(),
  not_before: Timestamp,
})

/** The second pair of eyes: an administrator, who is never the owner. */
export const approval = fourEyes({
  kind: 'payouts.payout',
  details: Details,
  names: {
    list: 'payouts.approvals',
    approve: 'payouts.approve',
    reject: 'payouts.reject',
  },
  path: '/admin/payouts/requests',
  what: 'a payout that its owner has asked for',
  ofOneself: true,
  // The money is held as long: until somebody decides, or its owner takes it back.
  ttlMs: HOLD_MS,
  audited: ({ for_user_id, iban, name, ...after }) => ({
    after,
    personal: { iban, name },
    subjectId: for_user_id,
  }),
  async approved(ctx, { id, details }) {
    const { tx, clock, kernel } = ctx
    const row = await lockPayout(tx.sql, id)
    const differs = differences(row, details, await kernel.use(Accounts).asset(PAYOUT_ASSET))
    if (differs.length > 0) {
      alarm(ctx, [{ row, differs }], ctx.auditRefusal)
      throw new Failure('conflict', 'It is not what was asked for: somebody has to look')
    }
    if (row.notBefore.getTime() > clock.now()) {
      throw new Failure('conflict', `Held until ${row.notBefore.toISOString()}`)
    }
    await lockPeople(tx.sql, [row.userId], { blocked: 'refused' })
    await step(ctx, [row], 'approved')
  },
  async rejected(ctx, { id, note }) {
    const row = await lockPayout(ctx.tx.sql, id)
    await step(ctx, [row], 'rejected', { reason: note ?? 'Rejected' })
  },
})

/** A payout that is not what was agreed to, and in what it differs. */
export interface Tampered {
  readonly row: PayoutRow
  readonly differs: readonly string[]
}

/** In what a payout differs from what was asked for and agreed to. */
function differences(
  row: PayoutRow,
  agreed: Static<typeof Details> | undefined,
  asset: Account['asset'],
): string[] {
  if (agreed === undefined) return ['approval']
  const same: Readonly<Record<string, boolean>> = {
    user: row.userId === agreed.for_user_id,
    asset: row.asset === agreed.asset,
    amount: formatAmount(row.amount, asset) === agreed.amount,
    iban: row.iban === agreed.iban,
    name: row.name === agreed.name,
    not_before: row.notBefore.toISOString() === agreed.not_before,
  }
  return Object.keys(same).filter((name) => same[name] !== true)
}

/**
 * Parts payouts that are what was agreed to from those that are not.
 * @param held their money must be set aside as well, as it is until the bank has answered
 */
export async function againstApproval(
  kernel: Kernel,
  sql: SQL,
  rows: readonly PayoutRow[],
  { held }: { readonly held: boolean },
): Promise<{ agreed: PayoutRow[]; tampered: Tampered[] }> {
  const ids = rows.map(({ id }) => id)
  const details = await approval.agreed(sql, ids)
  const holds = held ? await openHolds(sql, ids) : undefined
  const asset = await kernel.use(Accounts).asset(PAYOUT_ASSET)
  const agreed: PayoutRow[] = []
  const tampered: Tampered[] = []
  for (const row of rows) {
    const differs = differences(row, details.get(row.id), asset)
    const hold = holds?.get(row.id)
    const isHeld = hold?.amount === row.amount && hold.owner === row.userId
    if (holds !== undefined && !isHeld) differs.push('hold')
    if (differs.length === 0) agreed.push(row)
    else tampered.push({ row, differs })
  }
  return { agreed, tampered }
}

/** Tells people, by both logs, of payouts that are not paid; these stay as they are. */
export function alarm(
  { kernel }: WriteContext,
  tampered: readonly Tampered[],
  audit: WriteContext['audit'],
): void {
  for (const { row, differs } of tampered) {
    kernel.log.error('a payout is not what was approved: it is not paid', {
      payout: row.id,
      differs,
    })
    audit({
      action: 'payouts.not_as_approved',
      outcome: 'denied',
      target: { type: 'payout', id: row.id },
      after: { differs: [...differs] },
    })
  }
}
