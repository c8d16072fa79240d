import { fourEyes } from '../approvals/index.ts'
import { Failure } from '../base/errors.ts'
import { input, oneOf, page, pageFields, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import { operation } from '../kernel/operation.ts'
import { Accounts, isOpen } from '../ledger/index.ts'
import { AssetCode, formatAmount } from '../money/money.ts'
import { settle } from './payments.ts'
import {
  findPayment,
  listPayments,
  lockPayment,
  savePayment,
  type Trouble,
  TROUBLES,
} from './store.ts'

/** Payments that need a person. */

const access = user({ roles: ['admin'] })
const DAY_MS = 86_400_000

const paymentName = {
  provider: t.String({ pattern: '^[a-z][a-z0-9-]{1,31}$' }),
  payment_id: t.String({ pattern: '^[!-~]{1,255}$', maxLength: 255 }),
}
const troubles = Object.keys(TROUBLES) as [Trouble, ...Trouble[]]
const Decimal = t.Union([t.String(), t.Null()])

const PaymentItem = t.Object({
  ...paymentName,
  user_id: t.Union([Uuid, t.Null()]),
  asset: t.Union([AssetCode, t.Null()]),
  amount: Decimal,
  refunded: t.String({ description: 'Given back to the payer, as the provider says' }),
  returned: t.String({ description: 'Taken back from the wallet' }),
  credited: oneOf(['none', 'wallet', 'unassigned']),
  trouble: t.Union([oneOf(troubles), t.Null()]),
  explanation: t.Union([t.String(), t.Null()]),
  created_at: Timestamp,
  updated_at: Timestamp,
})

const payments = operation('funding.payments', {
  summary: 'Payments of the providers, newest first; with `troubled`, those that need a person',
  rest: 'GET /admin/funding/payments',
  access,
  limit: 'read',
  input: input({
    ...pageFields,
    cursor: t.Optional(t.String({ pattern: '^[1-9][0-9]{0,17}$' })),
    troubled: t.Optional(t.Boolean()),
    of_user_id: t.Optional(Uuid),
  }),
  output: page(PaymentItem),
  async run({ kernel }, { limit = 50, cursor, troubled = false, of_user_id }) {
    const query = { before: cursor, limit: limit + 1, troubled, userId: of_user_id }
    const rows = await kernel.db.read((sql) => listPayments(sql, query))
    const assets = await kernel.use(Accounts).assets()
    const items = rows.slice(0, limit).map((row): Static<typeof PaymentItem> => {
      const asset = row.asset === null ? undefined : assets.get(row.asset)
      const show = (minor: bigint) =>
        asset === undefined ? minor.toString() : formatAmount(minor, asset)
      return {
        provider: row.provider,
        payment_id: row.paymentId,
        user_id: row.userId,
        asset: row.asset,
        amount: row.amount === null ? null : show(row.amount),
        refunded: show(row.refunded),
        returned: show(row.returned),
        credited: row.credited,
        trouble: row.trouble,
        explanation: row.trouble === null ? null : TROUBLES[row.trouble],
        created_at: row.createdAt.toISOString(),
        updated_at: row.updatedAt.toISOString(),
      }
    })
    return {
      items,
      next_cursor: rows.length > limit ? (rows[limit - 1]?.number ?? null) : null,
    }
  },
})

const Details = t.Object({ ...paymentName, to_user_id: Uuid, reason: t.String() })

const assigning = fourEyes({
  kind: 'funding.assignment',
  details: Details,
  names: {
    list: 'funding.assignments',
    approve: 'funding.assignments.approve',
    reject: 'funding.assignments.reject',
  },
  path: '/admin/funding/assignments',
  what: 'the assignment of a payment to a user',
  ttlMs: 7 * DAY_MS,
  audited: ({ to_user_id, reason, ...payment }) => ({
    after: { ...payment, reason },
    subjectId: to_user_id,
  }),
  async prepare({ kernel }, { provider, payment_id, to_user_id }) {
    const key = { provider, paymentId: payment_id }
    const found = await kernel.db.read((sql) => findPayment(sql, key))
    const owner = to_user_id
    if (found?.asset == null) return
    await kernel.use(Accounts).open({ asset: found.asset, kind: 'wallet', owner })
  },
  async approved(ctx, { details: { provider, payment_id, to_user_id } }) {
    const { tx, clock } = ctx
    const key = { provider, paymentId: payment_id }
    const payment = await lockPayment(tx.sql, clock.date(), key)
    if (payment.credited !== 'unassigned') throw new Failure('conflict', 'It is assigned already')
    if (!(await isOpen(tx.sql, to_user_id, { lock: true }))) {
      throw new Failure('not_found', 'No such user')
    }
    await settle(ctx, { ...payment, userId: to_user_id })
  },
})

const Reason = t.String({ minLength: 3, maxLength: 500, pattern: '^[^\\u0000-\\u001f]*$' })

const assign = operation('funding.assignments.request', {
  summary: 'Say whose a payment is that nobody was named for; another administrator has to agree',
  rest: 'POST /admin/funding/assignments',
  status: 201,
  access,
  limit: 'write',
  input: input({ ...paymentName, to_user_id: Uuid, reason: Reason }),
  output: assigning.output,
  idempotent: true,
  stepUp: () => true,
  async handler(ctx, { provider, payment_id, to_user_id, reason }) {
    const { tx } = ctx
    const owner = to_user_id.toLowerCase()
    const payment = await findPayment(tx.sql, { provider, paymentId: payment_id })
    if (payment === undefined) throw new Failure('not_found', 'No such payment')
    if (payment.credited !== 'unassigned') {
      throw new Failure('conflict', 'It is not waiting to be assigned')
    }
    if (!(await isOpen(tx.sql, owner))) throw new Failure('not_found', 'No such user')
    const details = { provider, payment_id, to_user_id: owner, reason }
    const subject = `${provider}/${payment_id}`
    return assigning.show(
      await assigning.request(ctx, { subject, details, barred: [owner] }),
    ) as never
  },
})

const resolve = operation('funding.payments.resolve', {
  summary: 'Say that somebody has looked at what was wrong with a payment',
  description: 'Moves no money. What is still so (a refund that is owed) shows again.',
  rest: 'POST /admin/funding/payments/resolve',
  access,
  limit: 'write',
  input: input({ ...paymentName, note: Reason }),
  output: t.Object({ trouble: t.Union([oneOf(troubles), t.Null()]) }),
  async handler(ctx, { provider, payment_id, note }) {
    const { tx, clock, audit } = ctx
    const key = { provider, paymentId: payment_id }
    if ((await findPayment(tx.sql, key)) === undefined) {
      throw new Failure('not_found', 'No such payment')
    }
    const payment = await lockPayment(tx.sql, clock.date(), key)
    await savePayment(tx.sql, clock.date(), { ...payment, trouble: null })
    const { trouble } = await settle(ctx, { ...payment, trouble: null })
    audit({
      action: 'funding.payment_resolved',
      target: { type: 'payment', id: `${provider}/${payment_id}` },
      before: { trouble: payment.trouble },
      after: { trouble, note },
    })
    return { trouble }
  },
})

/** List, resolve, and the assignment by two administrators. */
export const paymentOperations = [payments, resolve, assign, ...assigning.operations]
