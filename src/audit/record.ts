import type { SQL } from 'bun'
import type { Database } from '../../db/client.ts'
import type { Audit, AuditLine } from '../kernel/audit.ts'
import type { Clock } from '../kernel/clock.ts'
import { uuidv7 } from '../kernel/ids.ts'

/** The writer of the log. */
export function createAudit({ db, clock }: { db: Database; clock: Clock }): Audit {
  const insert = async (sql: SQL, lines: readonly AuditLine[]) => {
    const rows = lines.map((line) => ({ ...rowOf(line), id: uuidv7(clock.now()) }))
    await sql`
      insert into audit_log (id, at, actor_kind, actor_id, session_id, action, outcome,
        target_type, target_id, transport, request_id, before, after, subject_id, personal)
      select id, ${clock.date()}, actor_kind, actor_id, session_id, action, outcome, target_type,
        target_id, transport, request_id, before, after, subject_id, personal
      from json_to_recordset(${JSON.stringify(rows)}::text::json) as row(
        id uuid, actor_kind text, actor_id text, session_id uuid, action text, outcome text,
        target_type text, target_id text, transport text, request_id text, before jsonb,
        after jsonb, subject_id text, personal jsonb)`
  }
  return {
    insert,
    record: (line) => db.transaction(({ sql }) => insert(sql, [line])),
  }
}

function rowOf(line: AuditLine) {
  const { caller, request, target } = line
  const actorId = line.actorId ?? callerIdOf(line)
  return {
    actor_kind: caller?.kind ?? (request.transport === 'internal' ? 'server' : 'stranger'),
    actor_id: actorId,
    session_id: caller?.kind === 'user' ? caller.sessionId : null,
    action: line.action,
    outcome: line.outcome ?? 'success',
    target_type: target?.type ?? null,
    target_id: target?.id ?? null,
    transport: request.transport,
    request_id: request.id,
    before: line.before ?? null,
    after: line.after ?? null,
    subject_id: line.subjectId ?? (target?.type === 'user' ? target.id : actorId),
    personal: {
      address: request.address,
      user_agent: request.userAgent ?? null,
      ...line.personal,
    },
  }
}

function callerIdOf({ caller }: AuditLine): string | null {
  if (caller === null) return null
  return caller.kind === 'user' ? caller.userId : caller.keyId
}
