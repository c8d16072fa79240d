import { input, oneOf, page, pageFields, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import { AUDIT_OUTCOMES } from '../kernel/effects.ts'

/** The action of the line that says that somebody's personal data was erased from the log. */
export const ERASED = 'audit.personal_data_erased'

const DAY_MS = 86_400_000
/** How long addresses of people whom nobody knows are kept (CNIL: logs, up to a year). */
export const STRANGERS_KEPT_MS = 365 * DAY_MS
/** How long a closed account's personal data stays in the log, for whoever was harmed by it. */
export const CLOSED_KEPT_MS = 30 * DAY_MS

const orNull = <T extends Parameters<typeof t.Union>[0][number]>(schema: T) =>
  t.Union([schema, t.Null()])
const Anything = t.Record(t.String(), t.Unknown())

const line = {
  id: Uuid,
  position: t.Integer({ minimum: 1, description: 'In the chain, from 1, without gaps' }),
  at: Timestamp,
  sealed_at: Timestamp,
  actor_kind: oneOf(['user', 'service', 'server', 'stranger']),
  actor_id: orNull(t.String({ description: 'Of a user or of an API key' })),
  session_id: orNull(Uuid),
  action: t.String({ description: '`feature.past_event`' }),
  outcome: oneOf(AUDIT_OUTCOMES),
  target_type: orNull(t.String()),
  target_id: orNull(t.String()),
  transport: t.String(),
  request_id: t.String(),
  before: orNull(Anything),
  after: orNull(Anything),
  subject_id: orNull(t.String({ description: 'Whose data `personal` is' })),
  origin: orNull(
    t.Object(
      { address: t.String(), user_agent: orNull(t.String()) },
      { description: 'Where the call came from; null for the server itself, and once erased' },
    ),
  ),
  personal: orNull(Anything),
}

/** A line as administrators see it. */
export const AuditLogLine = t.Object(line)
export type AuditLogLine = Static<typeof AuditLogLine>

/** A line with what it takes to check it. */
export const ExportedLine = t.Object({
  ...line,
  key_id: t.String({ description: 'Of the key that the line was sealed with' }),
  hash: t.String({ description: 'Hexadecimal; of this line and the one before it' }),
  origin_digest: orNull(t.String()),
  personal_digest: orNull(t.String()),
})
export type ExportedLine = Static<typeof ExportedLine>

const times = {
  from: t.Optional(t.String({ format: 'date-time', description: 'Lines of this time or later' })),
  to: t.Optional(t.String({ format: 'date-time', description: 'Lines before this time' })),
}
const Id = t.String({ minLength: 1, maxLength: 200 })

/** What to look for. */
export const SearchInput = input({
  ...pageFields,
  ...times,
  actor_id: t.Optional(Id),
  action: t.Optional(
    t.String({ pattern: '^[a-z0-9_.]{1,100}$', description: 'How the action begins: `auth.`' }),
  ),
  target_type: t.Optional(Id),
  target_id: t.Optional(Id),
  outcome: t.Optional(oneOf(AUDIT_OUTCOMES)),
  request_id: t.Optional(Id),
})
export type SearchInput = Static<typeof SearchInput>
export const SearchPage = page(AuditLogLine)

/** Most lines in one answer of the export: about a megabyte. */
export const EXPORT_PAGE_MAX = 1_000

/** Which lines to export. */
export const ExportInput = input({
  ...times,
  limit: t.Optional(t.Integer({ minimum: 1, maximum: EXPORT_PAGE_MAX, default: 500 })),
  cursor: t.Optional(t.String({ pattern: '^[0-9]{1,15}$' })),
})
export type ExportInput = Static<typeof ExportInput>
export const ExportPage = page(ExportedLine)
