import type { SQL } from 'bun'

/** The tables of funding. */

/** Where the money of a payment is in the ledger. */
export type Credited = 'none' | 'wallet' | 'unassigned'

/** What a person has to look at, and what happens to it by itself. */
export const TROUBLES = {
  user_unknown: 'Nobody it could be for: it waits until administrators assign it',
  refund_owed: 'Given back to the payer, but spent here: taken as soon as there is something',
  disputed: 'The payer’s bank wants it back; what is there is set aside until that is decided',
  payment_missing: 'Refunded or disputed, but the payment itself was not told of yet',
  amount_differs: 'Told twice with different amounts: the first one counts',
  unreadable: 'An event that should concern the books and could not be read',
} as const
export type Trouble = keyof typeof TROUBLES

/** A payment as it is stored, amounts in minor units. */
export interface Payment {
  readonly provider: string
  readonly paymentId: string
  readonly userId: string | null
  readonly asset: string | null
  readonly amount: bigint | null
  readonly refunded: bigint
  readonly credited: Credited
  readonly returned: bigint
  readonly trouble: Trouble | null
}

/** A dispute as it is stored. */
export interface Dispute {
  readonly disputeId: string
  readonly amount: bigint
  readonly state: 'open' | 'won' | 'lost'
  readonly hold: string | null
}

/** What a provider calls a payment. */
export type PaymentKey = Pick<Payment, 'provider' | 'paymentId'>

interface PaymentRow extends Omit<Payment, 'amount' | 'refunded' | 'returned'> {
  readonly amount: string | null
  readonly refunded: string
  readonly returned: string
}

const COLUMNS = `provider, payment_id as "paymentId", user_id as "userId", asset, amount::text,
  refunded::text, credited, returned::text, trouble`

const paymentOf = (row: PaymentRow): Payment => ({
  ...row,
  amount: row.amount === null ? null : BigInt(row.amount),
  refunded: BigInt(row.refunded),
  returned: BigInt(row.returned),
})

/**
 * Notes an event; whoever notes the same one at the same time waits.
 * @returns false when it is known already
 */
export async function noteEvent(
  sql: SQL,
  now: Date,
  event: PaymentKey & { eventId: string; type: string; outcome: string; body: Uint8Array },
): Promise<boolean> {
  const rows = await sql`
    insert into payment_events (provider, event_id, type, payment_id, outcome, body, received_at)
    values (${event.provider}, ${event.eventId}, ${event.type},
      ${event.paymentId === '' ? null : event.paymentId}, ${event.outcome},
      ${Buffer.from(event.body)}, ${now})
    on conflict (provider, event_id) do nothing returning event_id`
  if (rows.length === 1) return true
  await sql`
    update payment_events set deliveries = deliveries + 1
    where provider = ${event.provider} and event_id = ${event.eventId}`
  return false
}

/** A payment, made if it is not there, and locked until the transaction ends. */
export async function lockPayment(sql: SQL, now: Date, { provider, paymentId }: PaymentKey) {
  await sql`
    insert into payments (provider, payment_id, created_at, updated_at)
    values (${provider}, ${paymentId}, ${now}, ${now}) on conflict do nothing`
  const [row] = (await sql`
    select ${sql.unsafe(COLUMNS)} from payments
    where provider = ${provider} and payment_id = ${paymentId} for update`) as [PaymentRow]
  return paymentOf(row)
}

/** A payment as it is. */
export async function findPayment(sql: SQL, key: PaymentKey): Promise<Payment | undefined> {
  const [row] = (await sql`
    select ${sql.unsafe(COLUMNS)} from payments
    where provider = ${key.provider} and payment_id = ${key.paymentId}`) as PaymentRow[]
  return row === undefined ? undefined : paymentOf(row)
}

/** Writes what has become of a locked payment. */
export async function savePayment(sql: SQL, now: Date, payment: Payment): Promise<void> {
  const { provider, paymentId, userId, asset, amount, refunded, credited, returned } = payment
  await sql`
    update payments set user_id = ${userId}, asset = ${asset},
      amount = ${amount?.toString() ?? null}::text::numeric,
      refunded = ${refunded.toString()}::text::numeric, credited = ${credited},
      returned = ${returned.toString()}::text::numeric, trouble = ${payment.trouble},
      updated_at = ${now}
    where provider = ${provider} and payment_id = ${paymentId}`
}

/** The disputes of a payment; who has locked the payment has locked them. */
export async function disputesOf(
  sql: SQL,
  { provider, paymentId }: PaymentKey,
): Promise<Dispute[]> {
  const rows = (await sql`
    select dispute_id as "disputeId", amount::text, state, hold from payment_disputes
    where provider = ${provider} and payment_id = ${paymentId} order by dispute_id`) as (Omit<
    Dispute,
    'amount'
  > & { amount: string })[]
  return rows.map((row) => ({ ...row, amount: BigInt(row.amount) }))
}

/** Writes a dispute. What has been decided stays, whatever order its events come in. */
export async function saveDispute(
  sql: SQL,
  now: Date,
  key: PaymentKey,
  { disputeId, amount, state, hold }: Dispute,
): Promise<void> {
  await sql`
    insert into payment_disputes (provider, dispute_id, payment_id, amount, state, hold, updated_at)
    values (${key.provider}, ${disputeId}, ${key.paymentId}, ${amount.toString()}::text::numeric,
      ${state}, ${hold}, ${now})
    on conflict (provider, dispute_id) do update set hold = excluded.hold, updated_at = ${now},
      state = case payment_disputes.state when 'open' then excluded.state
        else payment_disputes.state end`
}

/** A payment in the list. */
export interface ListedPayment extends Payment {
  readonly number: string
  readonly createdAt: Date
  readonly updatedAt: Date
}

/** Payments, newest first, before `before`. */
export async function listPayments(
  sql: SQL,
  query: {
    before: string | undefined
    limit: number
    troubled: boolean
    userId: string | undefined
  },
): Promise<ListedPayment[]> {
  const { before, limit, troubled, userId } = query
  const rows = (await sql`
    select ${sql.unsafe(COLUMNS)}, number::text, created_at as "createdAt",
      updated_at as "updatedAt"
    from payments
    where (${before ?? null}::text is null or number < ${before ?? null}::text::bigint)
      ${troubled ? sql`and trouble is not null` : sql``}
      and (${userId ?? null}::text is null or user_id = ${userId ?? null}::text::uuid)
    order by number desc limit ${limit}`) as (PaymentRow & {
    number: string
    createdAt: Date
    updatedAt: Date
  })[]
  return rows.map((row) => ({ ...row, ...paymentOf(row) }))
}
