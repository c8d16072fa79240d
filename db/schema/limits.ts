import { pgTable, primaryKey, text } from 'drizzle-orm/pg-core'
import { bytea, moment } from './columns.ts'

/**
 * What the limits that security rests on have counted (`src/kernel/security-limits.ts`). Of whom,
 * only a keyed hash is known.
 */
export const securityLimits = pgTable(
  'security_limits',
  {
    name: text('name').notNull(),
    subject: bytea('subject').notNull(),
    /** When all that was counted is forgotten; each count moves it on. */
    emptyAt: moment('empty_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.name, table.subject] })],
)
