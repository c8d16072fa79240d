import { input, oneOf, page, pageFields, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import { idOfCursor, pageOf } from '../kernel/cursor.ts'
import { operation } from '../kernel/operation.ts'
import { SecurityLimits } from '../kernel/security-limits.ts'
import { listReports, OUTCOMES, REASONS, report, type ReportRow, resolveReport } from './reports.ts'

/** Reporting people, and what becomes of it. */

/** What people say, for administrators alone; one line of text or several. */
const Words = t.String({
  minLength: 1,
  maxLength: 2_000,
  pattern: '^[^\\u0000-\\u0009\\u000b-\\u001f\\u007f]*$',
})

const Report = t.Object({
  id: Uuid,
  reporter_id: Uuid,
  reported_id: Uuid,
  reason: oneOf(REASONS),
  comment: t.Union([t.String(), t.Null()]),
  message_ids: t.Array(Uuid),
  created_at: Timestamp,
  resolved_at: t.Union([Timestamp, t.Null()]),
  resolved_by: t.Union([Uuid, t.Null()]),
  outcome: t.Union([oneOf(OUTCOMES), t.Null()]),
  note: t.Union([t.String(), t.Null()]),
})

function shown(row: ReportRow): Static<typeof Report> {
  return {
    ...row,
    created_at: row.created_at.toISOString(),
    resolved_at: row.resolved_at?.toISOString() ?? null,
  }
}

export const create = operation('reports.create', {
  summary: 'Report a user to the administrators',
  description:
    'One for each reason while it is open. Messages are named by their ids and must be among ' +
    'those that you had from this user: the server has no content of them.',
  rest: 'POST /reports',
  status: 201,
  access: user(),
  limit: 'write',
  input: input({
    user_id: t.String({ ...Uuid, description: 'Whom the report is about' }),
    reason: oneOf(REASONS),
    comment: t.Optional(Words),
    message_ids: t.Optional(t.Array(Uuid, { maxItems: 50, uniqueItems: true })),
  }),
  output: t.Object({ id: Uuid, created_at: Timestamp }),
  idempotent: true,
  prepare: ({ kernel, actor }) => kernel.use(SecurityLimits).take('report', actor.userId),
  async handler(ctx, { user_id, reason, comment, message_ids = [] }) {
    const { id, created_at } = await report(ctx, {
      reportedId: user_id.toLowerCase(),
      reason,
      comment: comment ?? null,
      messageIds: [...new Set(message_ids.map((one) => one.toLowerCase()))],
    })
    return { id, created_at: created_at.toISOString() }
  },
})

export const list = operation('reports.list', {
  summary: 'Reports about users: open ones, oldest first, or those that are resolved, newest first',
  rest: 'GET /admin/reports',
  access: user({ roles: ['admin'] }),
  limit: 'read',
  input: input({
    ...pageFields,
    state: t.Optional(oneOf(['open', 'resolved'])),
    user_id: t.Optional(t.String({ ...Uuid, description: 'Whom the reports are about' })),
  }),
  output: page(Report),
  async run({ kernel }, { state = 'open', user_id, limit = 50, cursor }) {
    const wanted = { state, reportedId: user_id, after: idOfCursor(cursor), limit: limit + 1 }
    const rows = await kernel.db.read((sql) => listReports(sql, wanted))
    return pageOf(rows.map(shown), limit, ({ id }) => id)
  },
})

export const resolve = operation('reports.resolve', {
  summary: 'Say what came of a report',
  description: 'Does nothing to the account: block or close it by itself.',
  rest: 'POST /admin/reports/:report_id/resolve',
  access: user({ roles: ['admin'] }),
  limit: 'write',
  input: input({ report_id: Uuid, outcome: oneOf(OUTCOMES), note: t.Optional(Words) }),
  output: Report,
  handler: async (ctx, { report_id, outcome, note }) =>
    shown(await resolveReport(ctx, report_id, { outcome, note: note ?? null })),
})
