import {
  bigint,
  boolean,
  index,
  jsonb,
  numeric,
  pgTable,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import { moment } from './columns.ts'

/** What the world outside says that it holds for us: closing balances of banks and providers. */
export const externalStatements = pgTable(
  'external_statements',
  {
    id: uuid('id').primaryKey(),
    account: bigint('account', { mode: 'bigint' }).notNull(),
    /** The instant that the balance is of; microseconds, as the ledger's. */
    at: timestamp('at', { withTimezone: true, mode: 'string' }).notNull(),
    /** Minor units; above zero is ours. */
    balance: numeric('balance', { precision: 78, scale: 0, mode: 'bigint' }).notNull(),
    /** Number or name of the statement. */
    reference: text('reference').notNull(),
    enteredBy: uuid('entered_by').notNull(),
    enteredAt: moment('entered_at').notNull(),
  },
  (table) => [uniqueIndex('external_statements_account').on(table.account, table.at)],
)

/** Runs of the reconciliation, with what they found. */
export const reconciliations = pgTable(
  'reconciliations',
  {
    id: uuid('id').primaryKey(),
    at: moment('at').notNull(),
    agrees: boolean('agrees').notNull(),
    report: jsonb('report').notNull(),
  },
  (table) => [index('reconciliations_at').on(table.at)],
)
