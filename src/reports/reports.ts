import type { SQL } from 'bun'
import { findProfiles, noSuchUser } from '../auth/index.ts'
import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import type { WriteContext } from '../kernel/context.ts'
import { receivedFrom } from '../messaging/index.ts'

/** The table of reports. */

/** What somebody can be reported for. */
export const REASONS = [
  'spam',
  'harassment',
  'hate',
  'violence',
  'sexual_content',
  'child_safety',
  'fraud',
  'impersonation',
  'illegal_goods',
  'self_harm',
  'other',
] as const
type Reason = (typeof REASONS)[number]

/** What may come of a report. */
export const OUTCOMES = ['no_action', 'warned', 'blocked', 'closed'] as const
type Outcome = (typeof OUTCOMES)[number]

/** A report as it lies in its table. */
export interface ReportRow {
  readonly id: string
  readonly reporter_id: string
  readonly reported_id: string
  readonly reason: Reason
  readonly comment: string | null
  readonly message_ids: string[]
  readonly created_at: Date
  readonly resolved_at: Date | null
  readonly resolved_by: string | null
  readonly outcome: Outcome | null
  readonly note: string | null
}

const COLUMNS = `id, reporter_id, reported_id, reason, comment, message_ids::text[] as message_ids,
  created_at, resolved_at, resolved_by, outcome, note`

/** What somebody reports. */
export interface NewReport {
  readonly reportedId: string
  readonly reason: Reason
  readonly comment: string | null
  readonly messageIds: readonly string[]
}

/**
 * Stores a report.
 * @throws Failure `not_found` | `validation_failed` (oneself, foreign messages) | `already_exists`
 */
export async function report(
  { kernel, tx, clock, actor, audit, afterCommit }: WriteContext,
  { reportedId, reason, comment, messageIds }: NewReport,
): Promise<{ id: string; created_at: Date }> {
  const { sql } = tx
  if (reportedId === actor.userId) throw invalid('/user_id', 'You cannot report yourself')
  const [profile] = await findProfiles(sql, [reportedId])
  if (profile === undefined) throw noSuchUser()
  const received = await receivedFrom(sql, { by: actor.userId, from: reportedId, ids: messageIds })
  if (received.size < messageIds.length) {
    throw invalid('/message_ids', 'Some are not among the messages that you had from this user')
  }
  const id = uuidv7(clock.now())
  const created_at = clock.date()
  const made = await sql`
    insert into user_reports (id, reporter_id, reported_id, reason, comment, message_ids,
      created_at)
    values (${id}, ${actor.userId}, ${reportedId}, ${reason}, ${comment},
      ${`{${messageIds.join(',')}}`}::text::uuid[], ${created_at})
    on conflict do nothing returning 1`
  if (made.length === 0) {
    throw new Failure('already_exists', 'You have reported this user for this reason already')
  }
  audit({
    action: 'reports.created',
    target: { type: 'report', id },
    after: { reported_id: reportedId, reason, messages: messageIds.length },
  })
  afterCommit(() =>
    kernel.metrics
      .counter('user_reports_total', 'Reports about users by reason', ['reason'])
      .labels({ reason })
      .inc(),
  )
  return { id, created_at }
}

function invalid(path: string, message: string): Failure {
  return new Failure('validation_failed', message, { errors: [{ path, message }] })
}

/** Which reports are wanted. */
export interface WantedReports {
  readonly state: 'open' | 'resolved'
  readonly reportedId: string | undefined
  readonly after: string | undefined
  readonly limit: number
}

/** Open reports oldest first, because they wait; resolved ones newest first. */
export async function listReports(
  sql: SQL,
  { state, reportedId, after, limit }: WantedReports,
): Promise<ReportRow[]> {
  const open = state === 'open'
  return await sql.unsafe<ReportRow[]>(
    `select ${COLUMNS} from user_reports
    where resolved_at is ${open ? '' : 'not'} null
      and ($1::uuid is null or reported_id = $1::uuid)
      and ($2::uuid is null or id ${open ? '>' : '<'} $2::uuid)
    order by id ${open ? 'asc' : 'desc'} limit $3`,
    [reportedId ?? null, after ?? null, limit],
  )
}

/**
 * Says what came of a report.
 * @throws Failure `not_found` | `conflict` when it is resolved already
 */
export async function resolveReport(
  { tx, clock, actor, audit }: WriteContext,
  id: string,
  { outcome, note }: { outcome: Outcome; note: string | null },
): Promise<ReportRow> {
  const [row] = await tx.sql.unsafe<ReportRow[]>(
    `update user_reports set resolved_at = $2, resolved_by = $3, outcome = $4, note = $5
    where id = $1::uuid and resolved_at is null returning ${COLUMNS}`,
    [id, clock.date(), actor.userId, outcome, note],
  )
  if (row === undefined) {
    const found = await tx.sql`select from user_reports where id = ${id}`
    if (found.length === 0) throw new Failure('not_found', 'No such report')
    throw new Failure('conflict', 'This report is resolved already')
  }
  audit({
    action: 'reports.resolved',
    target: { type: 'report', id: row.id },
    after: { reported_id: row.reported_id, outcome },
  })
  return row
}
