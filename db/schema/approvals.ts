import { sql } from 'drizzle-orm'
import { check, index, jsonb, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { moment } from './columns.ts'

/**
 * What one person has asked for and another one has to agree to. The table itself refuses that
 * anybody agrees to their own request, whatever code runs.
 */
export const approvals = pgTable(
  'approvals',
  {
    id: uuid('id').primaryKey(),
    /** What is asked: `ledger.reversal`, `payout`. */
    kind: text('kind').notNull(),
    /** What it is about, unique among what is asked and what was agreed to. */
    subject: text('subject').notNull(),
    /** Everything that the decision is on; never changed. */
    details: jsonb('details').notNull(),
    state: text('state').notNull().default('pending'),
    requestedBy: uuid('requested_by').notNull(),
    requestedAt: moment('requested_at').notNull(),
    expiresAt: moment('expires_at').notNull(),
    /** Who may not agree either: those who would gain by it. */
    barred: uuid('barred').array().notNull(),
    decidedBy: uuid('decided_by'),
    decidedAt: moment('decided_at'),
    note: text('note'),
  },
  (table) => [
    uniqueIndex('approvals_subject')
      .on(table.kind, table.subject)
      .where(sql`${table.state} in ('pending', 'approved')`),
    index('approvals_list').on(table.kind, table.id),
    check('approvals_state', sql`${table.state} in ('pending', 'approved', 'rejected', 'expired')`),
    check(
      'approvals_decided',
      sql`(${table.state} in ('approved', 'rejected')) = (${table.decidedBy} is not null)`,
    ),
    check(
      'approvals_four_eyes',
      sql`${table.state} <> 'approved' or (${table.decidedBy} <> ${table.requestedBy}
        and ${table.decidedBy} <> all(${table.barred}))`,
    ),
  ],
)
