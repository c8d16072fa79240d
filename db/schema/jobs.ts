import { sql } from 'drizzle-orm'
import { index, integer, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytea, moment } from './columns.ts'

/** Durable jobs that are not done yet. */
export const queueJobs = pgTable(
  'queue_jobs',
  {
    id: uuid('id').primaryKey(),
    queue: text('queue').notNull(),
    key: text('key'),
    /** JSON text; sealed by the vault where the queue says so. */
    payload: bytea('payload').notNull(),
    dueAt: moment('due_at').notNull(),
    attempts: integer('attempts').notNull().default(0),
    createdAt: moment('created_at').notNull(),
  },
  (table) => [
    index('queue_jobs_due').on(table.queue, table.dueAt),
    uniqueIndex('queue_jobs_key')
      .on(table.queue, table.key)
      .where(sql`${table.key} is not null`),
  ],
)
