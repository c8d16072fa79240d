import type { SQL } from 'bun'
import { encodeCursor, pageOf, placeOfCursor } from '../kernel/cursor.ts'
import type { AuditLogLine, ExportedLine, ExportInput, SearchInput } from './shapes.ts'

/**
 * Reading the log. What is found has been sealed; what has not been yet is less than a second old,
 * or the sealer is in trouble and says so.
 */

/** The columns of a line `l` with its erasable parts `o` and `p`, as both readings give them. */
const COLUMNS = `l.id, l.position::float8 as position, l.at, l.sealed_at, l.actor_kind, l.actor_id,
  l.session_id, l.action, l.outcome, l.target_type, l.target_id, l.transport, l.request_id,
  l.before, l.after, l.subject_id, o.data as origin, p.data as personal`
const PARTS = `
  left join audit_personal o
    on o.position = l.position and o.sealed_at = l.sealed_at and o.part = 'origin'
  left join audit_personal p
    on p.position = l.position and p.sealed_at = l.sealed_at and p.part = 'personal'`

/** Conditions and their values, gathered in step. Only what is asked for costs something. */
class Conditions {
  readonly values: unknown[] = []
  readonly #parts: string[] = []

  /** `text` has `$` where each value goes. */
  add(text: string, ...values: unknown[]): void {
    if (values.includes(undefined)) return
    this.#parts.push(text.replaceAll('$', () => `$${this.values.push(values.shift())}`))
  }

  get sql(): string {
    return this.#parts.length === 0 ? 'true' : this.#parts.join(' and ')
  }
}

/** Sorts after every character of an action. */
const AFTER_ACTIONS = '~'

type Row<T extends AuditLogLine> = Omit<T, 'at' | 'sealed_at'> & { at: Date; sealed_at: Date }

const outward = <T extends AuditLogLine>(row: Row<T>) =>
  ({
    ...row,
    at: row.at.toISOString(),
    sealed_at: row.sealed_at.toISOString(),
  }) as unknown as T

/**
 * Lines that fit, newest first.
 * @throws Failure `validation_failed` for a cursor that is none
 */
export async function searchLines(sql: SQL, wanted: SearchInput) {
  const { limit = 50, cursor, action } = wanted
  const place = placeOfCursor(cursor)
  const where = new Conditions()
  where.add('l.actor_id = $', wanted.actor_id)
  where.add('l.target_type = $', wanted.target_type)
  where.add('l.target_id = $', wanted.target_id)
  where.add('l.outcome = $', wanted.outcome)
  // The form that the index over what went wrong has.
  if (wanted.outcome !== undefined && wanted.outcome !== 'success') {
    where.add(`l.outcome <> 'success'`)
  }
  where.add('l.request_id = $', wanted.request_id)
  where.add('l.at >= $', dateOf(wanted.from))
  where.add('l.at < $', dateOf(wanted.to))
  where.add('l.action >= $ and l.action < $', action, action && action + AFTER_ACTIONS)
  where.add('(l.at, l.id) < ($, $::text::uuid)', dateOf(place?.at), place?.id)
  const rows = (await sql.unsafe(
    `select ${COLUMNS} from (
       select * from audit_log l where ${where.sql} order by l.at desc, l.id desc limit ${limit + 1}
     ) l ${PARTS} order by l.at desc, l.id desc`,
    where.values,
  )) as Row<AuditLogLine>[]
  return pageOf(rows.map(outward), limit, ({ at, id }) => encodeCursor([at, id]))
}

/** Lines in the order of the chain, with what it takes to check them. */
export async function exportLines(sql: SQL, wanted: ExportInput) {
  const { limit = 500, cursor = '0' } = wanted
  const where = new Conditions()
  where.add('l.position > $::text::bigint', cursor)
  where.add('l.at >= $', dateOf(wanted.from))
  where.add('l.at < $', dateOf(wanted.to))
  const rows = (await sql.unsafe(
    `select ${COLUMNS}, l.key_id, encode(l.hash, 'hex') as hash,
       encode(l.origin_digest, 'hex') as origin_digest,
       encode(l.personal_digest, 'hex') as personal_digest
     from (
       select * from audit_log l where ${where.sql} order by l.position limit ${limit + 1}
     ) l ${PARTS} order by l.position`,
    where.values,
  )) as Row<ExportedLine>[]
  return pageOf(rows.map(outward), limit, ({ position }) => `${position}`)
}

const dateOf = (text: string | undefined) => (text === undefined ? undefined : new Date(text))
