import { index, jsonb, pgTable, text, uuid } from 'drizzle-orm/pg-core'
import { moment } from './columns.ts'

/** Lines of the audit log as the acts wrote them. */
export const auditLog = pgTable(
  'audit_log',
  {
    id: uuid('id').primaryKey(),
    at: moment('at').notNull(),
    actorKind: text('actor_kind').notNull(),
    actorId: text('actor_id'),
    sessionId: uuid('session_id'),
    action: text('action').notNull(),
    outcome: text('outcome').notNull(),
    targetType: text('target_type'),
    targetId: text('target_id'),
    transport: text('transport').notNull(),
    requestId: text('request_id').notNull(),
    before: jsonb('before'),
    after: jsonb('after'),
    subjectId: text('subject_id'),
    personal: jsonb('personal'),
  },
  (table) => [index('audit_log_at').on(table.at)],
)
