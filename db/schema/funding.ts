import { sql } from 'drizzle-orm'
import { bigint, check, index, integer, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import { amount, bytea, moment } from './columns.ts'

/** What payment providers have told, once each, as it came. */
export const paymentEvents = pgTable(
  'payment_events',
  {
    provider: text('provider').notNull(),
    eventId: text('event_id').notNull(),
    type: text('type').notNull(),
    paymentId: text('payment_id'),
    /** What came of it. */
    outcome: text('outcome').notNull(),
    /** How often it came. */
    deliveries: integer('deliveries').notNull().default(1),
    /** The signed bytes; removed after a time, since they hold what a payer is called. */
    body: bytea('body'),
    receivedAt: moment('received_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.provider, table.eventId] }),
    index('payment_events_payment').on(table.provider, table.paymentId),
    index('payment_events_body')
      .on(table.receivedAt)
      .where(sql`${table.body} is not null`),
  ],
)

/**
 * Payments as the provider tells them, in whatever order; what the ledger has of them is made to
 * agree. Amounts never shrink.
 */
export const payments = pgTable(
  'payments',
  {
    provider: text('provider').notNull(),
    paymentId: text('payment_id').notNull(),
    /** Whose wallet it is for, once that is known. */
    userId: uuid('user_id'),
    /** Null until the payment itself was told of: its refund may come first. */
    asset: text('asset'),
    amount: amount('amount'),
    /** Told: given back to the payer. What was lost to them in disputes stands there. */
    refunded: amount('refunded')
      .notNull()
      .default(sql`0`),
    /** In the ledger: where the payment went. */
    credited: text('credited').notNull().default('none'),
    /** In the ledger: taken back from there. */
    returned: amount('returned')
      .notNull()
      .default(sql`0`),
    /** What a person has to look at; null when all is well. */
    trouble: text('trouble'),
    createdAt: moment('created_at').notNull(),
    updatedAt: moment('updated_at').notNull(),
    /** Order of the list. */
    number: bigint('number', { mode: 'bigint' }).generatedAlwaysAsIdentity().unique(),
  },
  (table) => [
    primaryKey({ columns: [table.provider, table.paymentId] }),
    index('payments_trouble')
      .on(table.number)
      .where(sql`${table.trouble} is not null`),
    check('payments_credited', sql`${table.credited} in ('none', 'wallet', 'unassigned')`),
    check('payments_amount', sql`${table.amount} > 0`),
    check('payments_returned', sql`${table.returned} <= ${table.amount}`),
  ],
)

/** Disputes: the payer's bank wants the money back, and who is right is not decided yet. */
export const paymentDisputes = pgTable(
  'payment_disputes',
  {
    provider: text('provider').notNull(),
    disputeId: text('dispute_id').notNull(),
    paymentId: text('payment_id').notNull(),
    amount: amount('amount').notNull(),
    state: text('state').notNull(),
    /** Set aside in the wallet meanwhile; null where there was nothing. */
    hold: uuid('hold'),
    updatedAt: moment('updated_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.provider, table.disputeId] }),
    check('payment_disputes_state', sql`${table.state} in ('open', 'won', 'lost')`),
  ],
)
