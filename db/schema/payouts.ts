import { sql } from 'drizzle-orm'
import {
  check,
  index,
  integer,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import { amount, bytea, moment } from './columns.ts'

/** Where users have had money sent to, and since when: a new one waits. */
export const payoutDestinations = pgTable(
  'payout_destinations',
  {
    userId: uuid('user_id').notNull(),
    iban: text('iban').notNull(),
    firstUsedAt: moment('first_used_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.userId, table.iban] })],
)

/** Money on its way out of a wallet. Held from the request on, until the bank has answered. */
export const payouts = pgTable(
  'payouts',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id').notNull(),
    asset: text('asset').notNull(),
    amount: amount('amount').notNull(),
    iban: text('iban').notNull(),
    name: text('name').notNull(),
    state: text('state').notNull(),
    /** Why it was rejected or failed. */
    reason: text('reason'),
    /** Not to be approved before. */
    notBefore: moment('not_before').notNull(),
    requestedAt: moment('requested_at').notNull(),
    updatedAt: moment('updated_at').notNull(),
    fileId: uuid('file_id'),
    /** What the bank calls it. */
    bankReference: text('bank_reference'),
  },
  (table) => [
    index('payouts_user').on(table.userId, table.id),
    index('payouts_state').on(table.state, table.id),
    index('payouts_file').on(table.fileId),
    check('payouts_amount', sql`${table.amount} > 0`),
    check(
      'payouts_state',
      sql`${table.state} in
        ('requested', 'approved', 'processing', 'completed', 'rejected', 'failed')`,
    ),
    check(
      'payouts_in_file',
      sql`(${table.fileId} is not null) =
        (${table.state} in ('processing', 'completed', 'failed'))`,
    ),
  ],
)

/** Orders to the bank, each written once. The content is what its hash says, for ever. */
export const payoutFiles = pgTable(
  'payout_files',
  {
    id: uuid('id').primaryKey(),
    /** The bank refuses a second file of the same one. */
    messageId: text('message_id').notNull(),
    state: text('state').notNull(),
    count: integer('count').notNull(),
    controlSum: amount('control_sum').notNull(),
    sha256: bytea('sha256').notNull(),
    content: bytea('content').notNull(),
    createdBy: uuid('created_by').notNull(),
    createdAt: moment('created_at').notNull(),
    /** When the bank's side had it. */
    deliveredAt: moment('delivered_at'),
    /** Where it is there: a file's name. */
    deliveredAs: text('delivered_as'),
  },
  (table) => [
    uniqueIndex('payout_files_message').on(table.messageId),
    index('payout_files_prepared')
      .on(table.id)
      .where(sql`${table.state} = 'prepared'`),
    check('payout_files_state', sql`${table.state} in ('prepared', 'delivered')`),
  ],
)
