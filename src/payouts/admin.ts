import { Failure } from '../base/errors.ts'
import { input, oneOf, page, pageFields, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import { operation } from '../kernel/operation.ts'
import { Accounts, lockForBooking } from '../ledger/index.ts'
import { formatAmount } from '../money/money.ts'
import { Payout } from './channels.ts'
import { makeOrder } from './orders.ts'
import { STATES } from './states.ts'
import { PAYOUT_ASSET, showPayout, step, walletOf } from './steps.ts'
import {
  type FileRow,
  findFile,
  listFiles,
  listPayouts,
  lockPayout,
  lockPayoutsOf,
  type PayoutRow,
} from './store.ts'

/** What administrators do with payouts once they are approved. */

const access = user({ roles: ['admin'] })

/** What the bank calls it. */
const BankReference = t.Optional(t.String({ pattern: '^[!-~][ -~]{0,69}$', maxLength: 70 }))
const Reason = t.String({ minLength: 3, maxLength: 500, pattern: '^[^\\u0000-\\u001f]*$' })

const FullPayout = t.Object({
  ...Payout.properties,
  iban: t.String({ description: 'In full' }),
  of_user_id: Uuid,
  not_before: Timestamp,
  file_id: t.Union([Uuid, t.Null()]),
  bank_reference: t.Union([t.String(), t.Null()]),
})

export const queue = operation('payouts.queue', {
  summary: 'Payouts of everybody, newest first',
  rest: 'GET /admin/payouts',
  access,
  limit: 'read',
  input: input({
    ...pageFields,
    cursor: t.Optional(Uuid),
    state: t.Optional(oneOf(STATES)),
    of_user_id: t.Optional(Uuid),
    file_id: t.Optional(Uuid),
  }),
  output: page(FullPayout),
  async run({ kernel, clock }, { limit = 50, cursor, state, of_user_id, file_id }) {
    const query = { before: cursor, limit: limit + 1, state, userId: of_user_id, fileId: file_id }
    const rows = await kernel.db.read((sql) => listPayouts(sql, query))
    const asset = await kernel.use(Accounts).asset(PAYOUT_ASSET)
    const items = rows.slice(0, limit).map((row) => ({
      ...showPayout(row, asset, clock.now()),
      iban: row.iban,
      of_user_id: row.userId,
      not_before: row.notBefore.toISOString(),
      file_id: row.fileId,
      bank_reference: row.bankReference,
    }))
    return { items, next_cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  },
})

const PayoutFile = t.Object({
  id: Uuid,
  message_id: t.String(),
  state: oneOf(['prepared', 'delivered']),
  count: t.Integer(),
  control_sum: t.String(),
  sha256: t.String(),
  created_by: Uuid,
  created_at: Timestamp,
  delivered_at: t.Union([Timestamp, t.Null()]),
  delivered_as: t.Union([t.String(), t.Null()], { description: 'Name of the file' }),
})

const showFile = (row: FileRow): Static<typeof PayoutFile> => ({
  id: row.id,
  message_id: row.messageId,
  state: row.state,
  count: row.count,
  control_sum: formatAmount(row.controlSum, { scale: 2 }),
  sha256: row.sha256.toString('hex'),
  created_by: row.createdBy,
  created_at: row.createdAt.toISOString(),
  delivered_at: row.deliveredAt?.toISOString() ?? null,
  delivered_as: row.deliveredAs,
})

const noSuchFile = () => new Failure('not_found', 'No such order')

export const order = operation('payouts.files.create', {
  summary: 'Order what is approved: one ISO 20022 file (pain.001.001.09) for the bank',
  description: 'At most 500 payouts. The file is stored first and written once.',
  rest: 'POST /admin/payouts/files',
  status: 201,
  access,
  limit: 'write',
  input: input({}),
  output: PayoutFile,
  idempotent: true,
  stepUp: () => true,
  async handler(ctx) {
    const file = await findFile(ctx.tx.sql, await makeOrder(ctx))
    if (file === undefined) throw new Error('an order that was not stored')
    return showFile(file)
  },
})

export const files = operation('payouts.files', {
  summary: 'Orders to the bank, newest first',
  rest: 'GET /admin/payouts/files',
  access,
  limit: 'read',
  input: input({ ...pageFields, cursor: t.Optional(Uuid) }),
  output: page(PayoutFile),
  async run({ kernel }, { limit = 50, cursor }) {
    const rows = await kernel.db.read((sql) => listFiles(sql, cursor, limit + 1))
    const items = rows.slice(0, limit).map(showFile)
    return { items, next_cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  },
})

export const file = operation('payouts.files.get', {
  summary: 'An order as the bank gets it',
  description: 'Reading it is written to the audit log: it says who is paid where.',
  rest: 'GET /admin/payouts/files/:file_id',
  access,
  limit: 'read',
  input: input({ file_id: Uuid }),
  output: t.Object({ xml: t.String(), name: t.String() }),
  media: {
    type: 'application/xml; charset=utf-8',
    render: ({ xml, name }) => ({
      body: xml,
      headers: { 'content-disposition': `attachment; filename="${name}"` },
    }),
  },
  async run({ kernel, actor, request }, { file_id }) {
    const found = await kernel.db.read((sql) => findFile(sql, file_id))
    if (found === undefined) throw noSuchFile()
    const target = { type: 'payout_file', id: found.id }
    await kernel.audit.record({ caller: actor, request, action: 'payouts.order_read', target })
    return { xml: found.content.toString(), name: `${found.messageId}.xml` }
  },
})

const openBank = (kernel: WriteContext['kernel']) =>
  kernel.use(Accounts).open({ asset: PAYOUT_ASSET, kind: 'external', reference: 'bank' })
type Account = Awaited<ReturnType<typeof openBank>>

/** Nobody says of their own payout what the bank has done with it. */
function refuseOwn(
  { actor, auditRefusal }: WriteContext,
  rows: readonly PayoutRow[],
  to: 'completed' | 'failed',
): void {
  const own = rows.find(({ userId }) => userId === actor.userId)
  if (own === undefined) return
  auditRefusal({
    action: `payouts.${to}`,
    outcome: 'denied',
    target: { type: 'payout', id: own.id },
  })
  throw new Failure('forbidden', 'One of them is your own: somebody else has to do it')
}

export const settle = operation('payouts.settle', {
  summary: 'The bank has paid: the money leaves the books',
  rest: 'POST /admin/payouts/:payout_id/settle',
  access,
  limit: 'write',
  input: input({ payout_id: Uuid, bank_reference: BankReference }),
  output: Payout,
  idempotent: true,
  prepare: ({ kernel }) => openBank(kernel),
  async handler(ctx, { payout_id, bank_reference: bankReference }, bank) {
    const row = await lockPayout(ctx.tx.sql, payout_id)
    refuseOwn(ctx, [row], 'completed')
    return await shown(ctx, row, 'completed', { bankReference, bank: bank as Account })
  },
})

export const fail = operation('payouts.fail', {
  summary: 'The bank has refused: the money is its owner’s again',
  description:
    'Only for what the bank has not paid. What it pays and gets back later is entered as a bank ' +
    'transfer.',
  rest: 'POST /admin/payouts/:payout_id/fail',
  access,
  limit: 'write',
  input: input({ payout_id: Uuid, reason: Reason }),
  output: Payout,
  idempotent: true,
  stepUp: () => true,
  async handler(ctx, { payout_id, reason }) {
    const row = await lockPayout(ctx.tx.sql, payout_id)
    refuseOwn(ctx, [row], 'failed')
    return await shown(ctx, row, 'failed', { reason })
  },
})

async function shown(
  ctx: WriteContext,
  row: PayoutRow,
  to: 'completed' | 'failed',
  more: Parameters<typeof step>[3],
): Promise<Payout> {
  const [changed] = await step(ctx, [row], to, more)
  const asset = await ctx.kernel.use(Accounts).asset(PAYOUT_ASSET)
  return showPayout(changed as PayoutRow, asset, ctx.clock.now())
}

export const settleFile = operation('payouts.files.settle', {
  summary: 'The bank has answered for a whole order: all paid, except those named',
  description: 'What is settled already stays as it is.',
  rest: 'POST /admin/payouts/files/:file_id/settle',
  access,
  limit: 'write',
  input: input({
    file_id: Uuid,
    bank_reference: BankReference,
    failed: t.Optional(
      t.Array(t.Object({ payout_id: Uuid, reason: Reason }, { additionalProperties: false }), {
        maxItems: 500,
      }),
    ),
  }),
  output: t.Object({ completed: t.Integer(), failed: t.Integer() }),
  idempotent: true,
  stepUp: () => true,
  prepare: ({ kernel }) => openBank(kernel),
  async handler(ctx, { file_id, bank_reference: bankReference, failed = [] }, bank) {
    const rows = await lockPayoutsOf(ctx.tx.sql, file_id)
    if (rows.length === 0) throw noSuchFile()
    refuseOwn(ctx, rows, 'completed')
    const wallets: Account[] = []
    for (const row of rows) wallets.push(await walletOf(ctx, row))
    // All of them at once and in order, since they are posted in several steps.
    await lockForBooking(ctx, [bank as Account, ...wallets])
    const waiting = new Map(
      rows.filter(({ state }) => state === 'processing').map((row) => [row.id, row]),
    )
    let refused = 0
    for (const { payout_id, reason } of failed) {
      const row = waiting.get(payout_id.toLowerCase())
      if (row === undefined) throw new Failure('conflict', `${payout_id} does not wait in it`)
      waiting.delete(row.id)
      await step(ctx, [row], 'failed', { reason })
      refused++
    }
    const paid = [...waiting.values()]
    await step(ctx, paid, 'completed', { bankReference, bank: bank as Account })
    return { completed: paid.length, failed: refused }
  },
})
