import type { SQL } from 'bun'
import type { Database } from '../../db/client.ts'
import { pipelined } from '../../db/pipelined.ts'
import type { Clock } from '../base/clock.ts'
import { uuidv7 } from '../base/ids.ts'
import { compile, oneOf, type Static, t, type TSchema } from '../base/schema.ts'
import type { Audit } from '../kernel/audit.ts'
import { AUDIT_OUTCOMES, type AuditLine, type JsonObject } from '../kernel/effects.ts'

/**
 * The writer of the log: one statement in the transaction of the act, into the table where lines
 * wait for the sealer.
 */
export function createAudit({ db, clock }: { db: Database; clock: Clock }): Audit {
  const listeners = new Set<() => void>()
  const committed = () => {
    for (const listener of listeners) listener()
  }
  return {
    insert: (sql, lines) => insertLines(sql, clock, lines),
    committed,
    onCommitted(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    async record(line) {
      await db.transaction(({ sql }) => insertLines(sql, clock, [line]))
      committed()
    },
  }
}

/**
 * Sends lines into the caller's transaction. No line goes missing quietly: what cannot be written
 * as text throws before anything is sent.
 */
export function insertLines(sql: SQL, clock: Clock, lines: readonly AuditLine[]): Promise<void> {
  const at = clock.iso()
  const texts = lines.map((line) => storableText(saidBy(line, uuidv7(clock.now()), at)))
  return texts.length === 1 ? insertOne(sql, texts[0] as string) : insertMany(sql, texts)
}

/** Most acts write one line. */
function insertOne(sql: SQL, line: string): Promise<void> {
  return pipelined(sql`insert into audit_pending (line) values (${line})`)
}

function insertMany(sql: SQL, lines: readonly string[]): Promise<void> {
  return pipelined(sql`
    insert into audit_pending (line)
    select line from json_array_elements_text(${JSON.stringify(lines)}::text::json)
      with ordinality as given(line, n) order by n`)
}

/** JSON text without what the database cannot store: one such line could never be sealed. */
function storableText(line: PendingLine): string {
  const made = JSON.stringify(line)
  return UNSTORABLE.test(made) ? JSON.stringify(storable(line)) : made
}
/** Escapes of U+0000 and of half a surrogate pair, or what looks like one. */
const UNSTORABLE = /\\u(0000|d[89a-f])/i

function storable(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed().replaceAll('\0', '\ufffd')
  if (Array.isArray(value)) return value.map(storable)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value)
  return Object.fromEntries(fields.map(([name, field]) => [storable(name), storable(field)]))
}

const orNull = <T extends TSchema>(schema: T) => t.Union([schema, t.Null()])
const Text = t.String()
const Id = t.String({ pattern: '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' })
const Fields = t.Unsafe<JsonObject>(t.Record(t.String(), t.Unknown()))

/** A line as it waits to be sealed, in the form that the database gives back. */
const PendingLine = t.Object(
  {
    id: Id,
    at: t.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$' }),
    actor_kind: oneOf(['user', 'service', 'server', 'stranger']),
    actor_id: orNull(Text),
    session_id: orNull(Id),
    action: Text,
    outcome: oneOf(AUDIT_OUTCOMES),
    target_type: orNull(Text),
    target_id: orNull(Text),
    transport: Text,
    request_id: Text,
    before: orNull(Fields),
    after: orNull(Fields),
    /** Whose data `personal` is; `origin` is the actor's. */
    subject_id: orNull(Text),
    origin: orNull(t.Object({ address: Text, user_agent: orNull(Text) })),
    personal: orNull(Fields),
  },
  { additionalProperties: false },
)
export type PendingLine = Static<typeof PendingLine>
const validLine = compile(PendingLine)

/**
 * Reads a line that waits. One that this file has not written could differ, once it is stored in
 * columns, from what its hash covers.
 * @throws SyntaxError for such a line
 */
export function parseLine(text: string): PendingLine {
  const line = JSON.parse(text) as PendingLine
  if (validLine.check(line) && JSON.stringify(line) === text) return line
  throw new SyntaxError('not a line as the server writes it')
}

function saidBy(line: AuditLine, id: string, at: string): PendingLine {
  const { caller, request, target } = line
  const actorId = line.actorId ?? callerIdOf(line)
  const internal = request.transport === 'internal'
  return {
    id,
    at,
    actor_kind: caller?.kind ?? (internal ? 'server' : 'stranger'),
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
    origin: internal ? null : { address: request.address, user_agent: request.userAgent ?? null },
    personal: line.personal ?? null,
  }
}

function callerIdOf({ caller }: AuditLine): string | null {
  if (caller === null) return null
  return caller.kind === 'user' ? caller.userId : caller.keyId
}
