import { sql } from 'drizzle-orm'
import { index, integer, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytea, moment } from './columns.ts'
import { users } from './identity.ts'

/** Copies of somebody's data, on the way or ready to be fetched. */
export const dataExports = pgTable(
  'data_exports',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    state: text('state', { enum: ['pending', 'ready', 'failed'] }).notNull(),
    createdAt: moment('created_at').notNull(),
    /** The try that writes it now: what an earlier one still writes counts no more. */
    run: uuid('run'),
    readyAt: moment('ready_at'),
    expiresAt: moment('expires_at'),
    items: integer('items').notNull().default(0),
  },
  (table) => [
    uniqueIndex('data_exports_pending')
      .on(table.userId)
      .where(sql`${table.state} = 'pending'`),
    index('data_exports_user').on(table.userId, table.createdAt),
  ],
)

/** Pages of such a copy: compressed, then sealed by the vault. */
export const exportPages = pgTable(
  'export_pages',
  {
    id: uuid('id').primaryKey(),
    exportId: uuid('export_id')
      .notNull()
      .references(() => dataExports.id, { onDelete: 'cascade' }),
    number: integer('number').notNull(),
    content: bytea('content').notNull(),
  },
  (table) => [uniqueIndex('export_pages_number').on(table.exportId, table.number)],
)
