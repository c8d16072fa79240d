import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import { input, page, pageFields, t, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import { emission } from '../kernel/channel.ts'
import type { WriteContext } from '../kernel/context.ts'
import { operation } from '../kernel/operation.ts'
import { Accounts, bookActs, lockPeople, needsStepUp } from '../ledger/index.ts'
import { IBAN_PATTERN, ibanOf } from '../money/iban.ts'
import { Amount, AssetCode, formatAmount, parseAmount } from '../money/money.ts'
import { approval } from './approval.ts'
import { Payout, payoutChanged } from './channels.ts'
import { Bank } from './orders.ts'
import { HOLD_MS, PAYOUT_ASSET, payoutAct, showPayout, step } from './steps.ts'
import {
  countOpen,
  destinationSince,
  insertPayout,
  listPayouts,
  lockPayout,
  noSuchPayout,
  type PayoutRow,
  securityChangedAt,
} from './store.ts'

/** What users can ask: money out of their wallet, and what became of it. */

const DAY_MS = 86_400_000
/** Payouts that wait for a decision: each is work for a person. */
const OPEN_MAX = 10
/** How long a new destination, or one after a change of password or second factor, waits. */
const SETTLING_IN_MS = DAY_MS

/** Asks for money to be sent to a bank account. */
export const request = operation('payouts.request', {
  summary: 'Have money sent to a bank account',
  description:
    'The amount is set aside at once. A destination that is new, or used within a day of a ' +
    'changed password or second factor, waits 24 hours; `held_until` says so. Above 1,000 EUR ' +
    'within 24 hours, transfers included, it needs a fresh second factor.',
  rest: 'POST /payouts',
  status: 201,
  access: user(),
  limit: 'money',
  input: input({
    amount: Amount,
    asset: t.Optional(AssetCode),
    iban: t.String({ pattern: IBAN_PATTERN, maxLength: 44, examples: ['DE75512108001245126199'] }),
    name: t.String({
      minLength: 1,
      maxLength: 70,
      pattern: '^[^\\u0000-\\u001f\\u007f]*$',
      description: 'Holder of that account, as the bank knows them',
    }),
  }),
  output: Payout,
  idempotent: true,
  async stepUp(ctx, { amount }) {
    const of = await ctx.kernel.use(Accounts).asset(PAYOUT_ASSET)
    return await needsStepUp(ctx, of, parseAmount(amount, of))
  },
  prepare: ({ kernel, actor }) =>
    kernel.use(Accounts).lookup({ asset: PAYOUT_ASSET, kind: 'wallet', owner: actor.userId }),
  async handler(ctx, given, wallet) {
    const { kernel, clock, tx, actor, emit } = ctx
    const asset = await kernel.use(Accounts).asset(PAYOUT_ASSET)
    const { amount, iban, name } = checked(given, asset)
    if (!kernel.use(Bank).driver.takes({ name, cents: amount })) {
      throw refused('/name', 'has no character that banks take, or the amount is more than they do')
    }
    await lockPeople(tx.sql, [actor.userId], { blocked: 'refused' })
    if (wallet === undefined) {
      throw new Failure('insufficient_funds', 'There is not enough in the account')
    }
    if ((await countOpen(tx.sql, actor.userId)) >= OPEN_MAX) {
      throw new Failure('conflict', `${OPEN_MAX} payouts of yours wait for a decision already`)
    }
    const now = clock.date()
    const row: PayoutRow = {
      id: uuidv7(clock.now()),
      userId: actor.userId,
      asset: asset.code,
      amount,
      iban,
      name,
      state: 'requested',
      reason: null,
      notBefore: await notBefore(ctx, iban),
      requestedAt: now,
      updatedAt: now,
      fileId: null,
      bankReference: null,
    }
    await insertPayout(tx.sql, row)
    await approval.request(ctx, {
      id: row.id,
      subject: row.id,
      details: {
        for_user_id: row.userId,
        asset: row.asset,
        amount: formatAmount(amount, asset),
        iban,
        name,
        not_before: row.notBefore.toISOString(),
      },
      barred: [row.userId],
    })
    const shown = showPayout(row, asset, clock.now())
    emit(emission(payoutChanged, actor.userId, shown))
    await bookActs(ctx, [
      payoutAct(row, 'request', actor.userId, {
        type: 'hold',
        hold: row.id,
        account: wallet as Awaited<ReturnType<Accounts['open']>>,
        amount,
        expiresAtMs: clock.now() + HOLD_MS,
      }),
    ])
    return shown
  },
})

/** What the schema cannot say. */
function checked(
  given: { amount: string; asset?: string; iban: string; name: string },
  asset: Parameters<typeof parseAmount>[1],
): { amount: bigint; iban: string; name: string } {
  if (given.asset !== undefined && given.asset !== PAYOUT_ASSET) {
    throw refused('/asset', `is not ${PAYOUT_ASSET}, which banks transfer`)
  }
  const amount = parseAmount(given.amount, asset)
  const iban = ibanOf(given.iban)
  if (iban === undefined) throw refused('/iban', 'is not an IBAN of the SEPA area')
  return { amount, iban, name: given.name.trim() }
}

/** When a payout may be approved at the earliest. */
async function notBefore({ tx, clock, actor }: WriteContext, iban: string): Promise<Date> {
  const now = clock.date()
  const known = await destinationSince(tx.sql, now, actor.userId, iban)
  const changed = await securityChangedAt(tx.sql, actor.userId)
  const since = Math.max(known.getTime(), changed?.getTime() ?? 0)
  return new Date(Math.max(since + SETTLING_IN_MS, now.getTime()))
}

function refused(path: string, message: string): Failure {
  return new Failure('validation_failed', `${path.slice(1)} ${message}`, {
    errors: [{ path, message }],
  })
}

export const list = operation('payouts.list', {
  summary: 'Your payouts, newest first',
  rest: 'GET /payouts',
  access: user(),
  limit: 'read',
  input: input({ ...pageFields, cursor: t.Optional(Uuid) }),
  output: page(Payout),
  async run({ kernel, actor, clock }, { limit = 50, cursor }) {
    const query = { before: cursor, limit: limit + 1, userId: actor.userId }
    const rows = await kernel.db.read((sql) => listPayouts(sql, query))
    const asset = await kernel.use(Accounts).asset(PAYOUT_ASSET)
    const items = rows.slice(0, limit).map((row) => showPayout(row, asset, clock.now()))
    return { items, next_cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  },
})

export const get = operation('payouts.get', {
  summary: 'One of your payouts',
  rest: 'GET /payouts/:payout_id',
  access: user(),
  limit: 'read',
  input: input({ payout_id: Uuid }),
  output: Payout,
  async run({ kernel, actor, clock }, { payout_id }) {
    const query = { before: undefined, limit: 1, userId: actor.userId, id: payout_id }
    const [row] = await kernel.db.read((sql) => listPayouts(sql, query))
    if (row === undefined) throw noSuchPayout()
    return showPayout(row, await kernel.use(Accounts).asset(PAYOUT_ASSET), clock.now())
  },
})

export const cancel = operation('payouts.cancel', {
  summary: 'Take a payout back that nobody has approved yet',
  rest: 'DELETE /payouts/:payout_id',
  access: user(),
  limit: 'write',
  input: input({ payout_id: Uuid }),
  output: Payout,
  idempotent: true,
  async handler(ctx, { payout_id }) {
    const { tx, actor, kernel, clock } = ctx
    // Approvals are locked before payouts, here as where administrators decide.
    await approval.withdraw(ctx, payout_id, { by: actor.userId, note: 'Taken back by its owner' })
    const row = await lockPayout(tx.sql, payout_id, actor.userId)
    const reason = 'Taken back by its owner'
    const [changed] = await step(ctx, [row], 'rejected', { reason })
    const asset = await kernel.use(Accounts).asset(PAYOUT_ASSET)
    return showPayout(changed as PayoutRow, asset, clock.now())
  },
})
