import type { Kernel } from '../../src/kernel/kernel.ts'

/** A line of the audit log for tests; `personal` holds the address and the device as well. */
export interface TrailLine {
  readonly action: string
  readonly outcome: string
  readonly actor_kind: string
  readonly actor_id: string | null
  readonly session_id: string | null
  readonly target_type: string | null
  readonly target_id: string | null
  readonly transport: string
  readonly request_id: string
  // oxlint-disable-next-line no-explicit-any
  readonly before: any
  // oxlint-disable-next-line no-explicit-any
  readonly after: any
  readonly subject_id: string | null
  // oxlint-disable-next-line no-explicit-any
  readonly personal: any
}

/**
 * What has been written to the audit log, oldest first, sealed or not; with `action`, only lines of
 * that action or of actions that begin with it (`auth.`).
 */
export async function auditTrail(
  { kernel }: { readonly kernel: Pick<Kernel, 'db'> },
  action = '',
): Promise<TrailLine[]> {
  const rows: TrailLine[] = await kernel.db.sql`
    with line as (
      select said.* from audit_pending, json_to_record(line::json) as said(
        id uuid, action text, outcome text, actor_kind text, actor_id text, session_id uuid,
        target_type text, target_id text, transport text, request_id text, before json,
        after json, subject_id text, origin json, personal json)
      union all
      select id, action, outcome, actor_kind, actor_id, session_id, target_type, target_id,
        transport, request_id, before, after, l.subject_id, o.data, p.data
      from audit_log l
      left join audit_personal o on o.position = l.position and o.sealed_at = l.sealed_at
        and o.part = 'origin'
      left join audit_personal p on p.position = l.position and p.sealed_at = l.sealed_at
        and p.part = 'personal')
    select action, outcome, actor_kind, actor_id, session_id, target_type, target_id, transport,
      request_id, before, after, subject_id,
      (coalesce(origin::jsonb, '{}') || coalesce(personal::jsonb, '{}')) as personal
    from line where starts_with(action, ${action}) order by id`
  return [...rows]
}
