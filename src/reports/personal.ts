import type { SQL } from 'bun'
import type { Caller } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { PersonalItem } from '../kernel/personal-data.ts'

/** What reports hold of a person: for their export, and for the closing of their account. */

/** What stays when somebody leaves. */
export const KEPT = [
  'Reports about you and by you, by the id of your account, until a year after they were ' +
    'resolved: so that nobody escapes a report by closing their account. Your comments are erased.',
] as const

const PAGE = 500
const FIRST = '00000000-0000-0000-0000-000000000000'

interface Row {
  readonly id: string
  readonly reported_id: string
  readonly reason: string
  readonly comment: string | null
  readonly message_ids: string[]
  readonly created_at: Date
  readonly resolved_at: Date | null
}

/** What somebody has reported. What others have reported about them is the others'. */
export async function* exportReports(
  _kernel: Kernel,
  sql: SQL,
  userId: string,
): AsyncGenerator<PersonalItem> {
  let after = FIRST
  for (;;) {
    const rows = (await sql`
      select id, reported_id, reason, comment, message_ids::text[] as message_ids, created_at,
        resolved_at
      from user_reports where reporter_id = ${userId} and id > ${after}
      order by id limit ${PAGE}`) as Row[]
    for (const row of rows) {
      const created_at = row.created_at.toISOString()
      const resolved_at = row.resolved_at?.toISOString() ?? null
      yield { section: 'reports', item: { ...row, created_at, resolved_at } }
    }
    const last = rows.at(-1)
    if (last === undefined || rows.length < PAGE) return
    after = last.id
  }
}

/** Erases what somebody has said about others. */
export async function forgetReports(
  { tx }: WriteContext<Caller | null>,
  userId: string,
): Promise<void> {
  await tx.sql`
    update user_reports set comment = null
    where reporter_id = ${userId} and comment is not null`
}
