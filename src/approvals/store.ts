import type { SQL } from 'bun'
import type { JsonObject } from '../kernel/effects.ts'

/** The table of approvals. */

/** What can become of a request. */
export const STATES = ['pending', 'approved', 'rejected', 'expired'] as const
export type ApprovalState = (typeof STATES)[number]

/** A request as it is stored. */
export interface ApprovalRow<D = JsonObject> {
  readonly id: string
  readonly subject: string
  readonly details: D
  readonly state: ApprovalState
  readonly requested_by: string
  readonly requested_at: Date
  readonly expires_at: Date
  readonly barred: readonly string[]
  readonly decided_by: string | null
  readonly decided_at: Date | null
  readonly note: string | null
}

/** Something new that is asked for. */
export interface NewApproval {
  readonly id: string
  readonly kind: string
  readonly subject: string
  readonly details: JsonObject
  readonly requestedBy: string
  readonly barred: readonly string[]
  readonly expiresAt: Date
}

const COLUMNS = `id, subject, details, requested_by, requested_at, expires_at,
  array_to_json(barred) as barred, decided_by, decided_at, note`

/** Writes a request down; undefined when the same is pending or was agreed to. */
export async function insertApproval(
  sql: SQL,
  now: Date,
  { id, kind, subject, details, requestedBy, barred, expiresAt }: NewApproval,
): Promise<ApprovalRow | undefined> {
  await sql`
    update approvals set state = 'expired'
    where kind = ${kind} and subject = ${subject} and state = 'pending' and expires_at <= ${now}`
  const [row] = (await sql`
    insert into approvals (id, kind, subject, details, requested_by, requested_at, expires_at,
      barred)
    values (${id}, ${kind}, ${subject}, ${JSON.stringify(details)}::text::jsonb, ${requestedBy},
      ${now}, ${expiresAt}, ${`{${barred.join(',')}}`}::text::uuid[])
    on conflict (kind, subject) where state in ('pending', 'approved') do nothing
    returning ${sql.unsafe(COLUMNS)}, state`) as ApprovalRow[]
  return row
}

/** A request by its id; what has run out of time says so. */
export async function findApproval(
  sql: SQL,
  now: Date,
  kind: string,
  id: string,
  options: { readonly lock: boolean },
): Promise<ApprovalRow | undefined> {
  const [row] = (await sql`
    select ${sql.unsafe(COLUMNS)}, ${stateAt(sql, now)} as state from approvals
    where id = ${id} and kind = ${kind}
    ${options.lock ? sql`for update` : sql``}`) as ApprovalRow[]
  return row
}

/** What was agreed to, of requests by their ids. */
export async function agreedTo(
  sql: SQL,
  kind: string,
  ids: readonly string[],
): Promise<Pick<ApprovalRow, 'id' | 'details'>[]> {
  return await sql`
    select id, details from approvals where kind = ${kind} and state = 'approved'
      and id = any(${`{${ids.join(',')}}`}::text::uuid[])`
}

/** Requests of a kind, newest first, before `cursor`. */
export async function listApprovals(
  sql: SQL,
  now: Date,
  query: { kind: string; state: string | undefined; before: string | undefined; limit: number },
): Promise<ApprovalRow[]> {
  const { kind, state, before = null, limit } = query
  return await sql`
    select * from (
      select ${sql.unsafe(COLUMNS)}, ${stateAt(sql, now)} as state from approvals
      where kind = ${kind} and (${before}::text is null or id < ${before}::text::uuid)
    ) a
    where ${state ?? null}::text is null or state = ${state ?? null}
    order by id desc limit ${limit}`
}

const stateAt = (sql: SQL, now: Date) =>
  sql`case when state = 'pending' and expires_at <= ${now} then 'expired' else state end`

/** Notes a decision on a request that is locked and pending. */
export async function decideApproval(
  sql: SQL,
  now: Date,
  id: string,
  decision: { state: 'approved' | 'rejected'; by: string; note: string | undefined },
): Promise<void> {
  const { state, by, note } = decision
  const done = await sql`
    update approvals set state = ${state}, decided_by = ${by}, decided_at = ${now},
      note = ${note ?? null}
    where id = ${id} and state = 'pending' returning id`
  if (done.length !== 1) throw new Error(`approval ${id} was not pending under its lock`)
}
