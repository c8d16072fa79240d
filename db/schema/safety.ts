import { sql } from 'drizzle-orm'
import {
  bigint,
  check,
  index,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import { moment, xid8 } from './columns.ts'
import { users } from './identity.ts'

/** Who wants nothing to do with whom. */
export const userBlocks = pgTable(
  'user_blocks',
  {
    blockerId: uuid('blocker_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    blockedId: uuid('blocked_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    createdAt: moment('created_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.blockerId, table.blockedId] }),
    index('user_blocks_blocked').on(table.blockedId),
    index('user_blocks_newest').on(table.blockerId, table.createdAt, table.blockedId),
    check('user_blocks_two', sql`${table.blockerId} <> ${table.blockedId}`),
  ],
)

/**
 * Whose contacts have changed lately, which every instance polls: of two people, or of everybody
 * with one who has left. `xact` as in `session_revocations`.
 */
export const contactChanges = pgTable(
  'contact_changes',
  {
    number: bigint('number', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    userId: uuid('user_id').notNull(),
    otherId: uuid('other_id'),
    changedAt: moment('changed_at').notNull().defaultNow(),
    xact: xid8('xact')
      .notNull()
      .default(sql`pg_current_xact_id()`),
  },
  (table) => [index('contact_changes_xact').on(table.xact)],
)

/** What users have told the administrators about each other. */
export const userReports = pgTable(
  'user_reports',
  {
    id: uuid('id').primaryKey(),
    reporterId: uuid('reporter_id')
      .notNull()
      .references(() => users.id),
    reportedId: uuid('reported_id')
      .notNull()
      .references(() => users.id),
    reason: text('reason').notNull(),
    comment: text('comment'),
    /** Messages that the reporter had from the reported: ids, never content. */
    messageIds: uuid('message_ids').array().notNull(),
    createdAt: moment('created_at').notNull(),
    resolvedAt: moment('resolved_at'),
    resolvedBy: uuid('resolved_by').references(() => users.id),
    /** What came of it; null while it is open. */
    outcome: text('outcome', { enum: ['no_action', 'warned', 'blocked', 'closed'] }),
    note: text('note'),
  },
  (table) => [
    uniqueIndex('user_reports_open')
      .on(table.reporterId, table.reportedId, table.reason)
      .where(sql`${table.resolvedAt} is null`),
    index('user_reports_waiting')
      .on(table.id)
      .where(sql`${table.resolvedAt} is null`),
    index('user_reports_reporter').on(table.reporterId, table.createdAt),
    index('user_reports_reported').on(table.reportedId, table.id),
    index('user_reports_resolved').on(table.resolvedAt),
  ],
)
