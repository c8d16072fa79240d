import type { SQL } from 'bun'
import { digestOf, GENESIS, type SealedLine, sealOf } from './chain.ts'
import type { AuditKeys } from './keys.ts'
import { parseLine, type PendingLine } from './record.ts'
import { ERASED, STRANGERS_KEPT_MS } from './shapes.ts'

/**
 * Walks the chain in bounded memory and says where it is damaged.
 *
 * What each kind means, whoever may have done it:
 * - `missing`: positions that nobody holds; lines were removed
 * - `changed`: a line does not fit its hash; it was edited, moved here or made up
 * - `duplicate`: a position is held twice; a line was added
 * - `truncated`: the chain ends before a place that it is known to have reached
 * - `rewritten`: a line is not the one that a checkpoint names
 * - `unknown key`: sealed with a key that is not among ours
 * - `personal data`: what may be erased was changed, moved, or is gone though nobody erased it
 * - `checkpoint`: a checkpoint was not signed by us
 */
export type DamageKind =
  | 'missing'
  | 'changed'
  | 'duplicate'
  | 'truncated'
  | 'rewritten'
  | 'unknown key'
  | 'personal data'
  | 'checkpoint'

/** One place that is damaged. */
export interface Damage {
  readonly position: number
  readonly kind: DamageKind
  readonly detail: string
}

/** What a walk starts from: the position before its first line, and that line's hash. */
export interface Start {
  readonly position: number
  readonly hash: Buffer
}
export const BEGINNING: Start = { position: 0, hash: GENESIS }

/** What a walk has seen. */
export interface Walked {
  readonly lines: number
  /** The last line; where the walk began, when there is none. */
  readonly end: Start
  /** When the first and the last line happened, in milliseconds since the epoch. */
  readonly firstAtMs: number | undefined
  readonly lastAtMs: number | undefined
  /** Parts of lines that may be erased: those that are there, and those that were erased. */
  readonly personal: { readonly checked: number; readonly erased: number }
}

/** Lines read at once: a few megabytes at most. */
const LINES_AT_ONCE = 2_000

interface Row extends SealedLine {
  readonly hash: Uint8Array
  readonly origin_there: boolean
  readonly origin_subject: string | null
  readonly origin_salt: Uint8Array | null
  readonly origin: string | null
  readonly personal_there: boolean
  readonly personal_subject: string | null
  readonly personal_salt: Uint8Array | null
  readonly personal: string | null
}

export interface WalkOptions {
  readonly keys: AuditKeys
  readonly start: Start
  readonly nowMs: number
  readonly report: (damage: Damage) => void
  /** Only lines that were sealed before this. */
  readonly before?: Date
}

/** Checks every line after `start`, its place, its hash and its erasable parts. */
export async function walk(sql: SQL, options: WalkOptions): Promise<Walked> {
  const { start, before } = options
  const seen = { lines: 0, personal: { checked: 0, erased: 0 } }
  let [first, last]: (Row | undefined)[] = []
  let end = start
  for (;;) {
    const rows = await readRows(sql, last, before)
    if (rows.length === 0) break
    first ??= rows[0]
    for (const row of rows) {
      checkLine(options, end, row)
      end = { position: Number(row.position), hash: Buffer.from(row.hash) }
    }
    const parts = await checkPersonal(sql, options, rows)
    seen.lines += rows.length
    seen.personal.checked += parts.checked
    seen.personal.erased += parts.erased
    last = rows.at(-1)
    // Nothing else is read meanwhile, so that a long walk does not hold up what shares the process.
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { ...seen, end, firstAtMs: timeOf(first), lastAtMs: timeOf(last) }
}

const timeOf = (row: Row | undefined) => (row === undefined ? undefined : Number(row.at))

function checkLine({ keys, report }: WalkOptions, previous: Start, row: Row): void {
  const position = Number(row.position)
  const expected = previous.position + 1
  if (position < expected) {
    return report({ position, kind: 'duplicate', detail: 'a second line at this position' })
  }
  if (position > expected) {
    const detail = `lines ${expected} to ${position - 1} are not there`
    // The line after them cannot be checked: what it lies upon is gone.
    return report({ position: expected, kind: 'missing', detail })
  }
  const key = keys.known.get(row.key_id)
  if (key === undefined) {
    const detail = `sealed with the key ${row.key_id}, which is not among ours`
    return report({ position, kind: 'unknown key', detail })
  }
  if (sealOf(key, previous.hash, row).equals(row.hash)) return
  const at = new Date(Number(row.at)).toISOString()
  const detail = `the line (${row.action}, ${at}) or the hash before it is not as it was sealed`
  report({ position, kind: 'changed', detail })
}

async function checkPersonal(
  sql: SQL,
  { report, nowMs }: WalkOptions,
  rows: readonly Row[],
): Promise<{ checked: number; erased: number }> {
  const missing: { row: Row; subject: string | null; part: string }[] = []
  let checked = 0
  const check = (row: Row, part: 'origin' | 'personal', subject: string | null) => {
    const digest = row[`${part}_digest`]
    if (!row[`${part}_there`]) {
      if (digest !== null) missing.push({ row, subject, part })
      return
    }
    checked++
    const salt = row[`${part}_salt`] ?? new Uint8Array()
    const fits = digest === digestOf(salt, row[part] ?? '').toString('hex')
    if (fits && row[`${part}_subject`] === subject) return
    const detail = `${part} of the line is not what was sealed`
    report({ position: Number(row.position), kind: 'personal data', detail })
  }
  for (const row of rows) {
    check(row, 'origin', originSubject(row))
    check(row, 'personal', row.subject_id)
  }
  const erasedAtMs = await erasures(
    sql,
    missing.map(({ subject }) => subject),
  )
  for (const { row, subject, part } of missing) {
    const untilMs =
      subject === null ? nowMs - STRANGERS_KEPT_MS : (erasedAtMs.get(subject) ?? -Infinity)
    if (Math.min(Number(row.at), Number(row.sealed_at)) <= untilMs) continue
    const detail = `${part} of the line is gone, and no erasure is on record`
    report({ position: Number(row.position), kind: 'personal data', detail })
  }
  return { checked, erased: missing.length }
}

/** Whose address a line holds: the actor's, where that is a person. As `rialto_seal_audit` says. */
function originSubject({ actor_kind, actor_id }: Row): string | null {
  return actor_kind === 'user' || actor_kind === 'stranger' ? actor_id : null
}

/** When each subject's data was last erased, by the lines that say so. */
async function erasures(
  sql: SQL,
  subjects: readonly (string | null)[],
): Promise<ReadonlyMap<string, number>> {
  const wanted = [...new Set(subjects.filter((one) => one !== null))]
  if (wanted.length === 0) return new Map()
  const rows = (await sql`
    select target_id, (extract(epoch from max(at)) * 1000)::float8 as at_ms from audit_log
    where action = ${ERASED} and target_id in (
      select json_array_elements_text(${JSON.stringify(wanted)}::text::json))
    group by target_id`) as { target_id: string; at_ms: number }[]
  const erased = new Map(rows.map(({ target_id, at_ms }) => [target_id, at_ms]))
  for (const { target_id, at } of await waitingErasures(sql)) {
    if (target_id !== null) erased.set(target_id, Date.parse(at))
  }
  return erased
}

/** Erasures that are committed and not sealed yet. */
async function waitingErasures(sql: SQL): Promise<PendingLine[]> {
  const rows = (await sql`
    select line from audit_pending
    where position(${JSON.stringify(ERASED)} in line) > 0`) as { line: string }[]
  return rows.flatMap(({ line }) => {
    try {
      const parsed = parseLine(line)
      return parsed.action === ERASED ? [parsed] : []
    } catch {
      // Nothing that the server has written: the sealer says so, and here it proves nothing.
      return []
    }
  })
}

async function readRows(
  sql: SQL,
  after: Row | undefined,
  before: Date | undefined,
): Promise<Row[]> {
  const position = after?.position ?? '0'
  const sealedAt = new Date(Number(after?.sealed_at ?? 0))
  return await sql`
    select l.position::text as position,
      (extract(epoch from l.sealed_at) * 1000)::bigint::text as sealed_at, l.key_id,
      l.id::text as id, (extract(epoch from l.at) * 1000)::bigint::text as at, l.actor_kind,
      l.actor_id, l.session_id::text as session_id, l.action, l.outcome, l.target_type,
      l.target_id, l.transport, l.request_id, l.before::text as before, l.after::text as after,
      l.subject_id, encode(l.origin_digest, 'hex') as origin_digest,
      encode(l.personal_digest, 'hex') as personal_digest, l.hash,
      o.position is not null as origin_there, o.subject_id as origin_subject,
      o.salt as origin_salt, o.data::text as origin,
      p.position is not null as personal_there, p.subject_id as personal_subject,
      p.salt as personal_salt, p.data::text as personal
    from (
      select * from audit_log
      where (position, sealed_at) > (${position}::text::bigint, ${sealedAt})
        and sealed_at < coalesce(${before ?? null}, 'infinity'::timestamptz)
      order by position, sealed_at limit ${LINES_AT_ONCE}) l
    left join audit_personal o
      on o.position = l.position and o.sealed_at = l.sealed_at and o.part = 'origin'
    left join audit_personal p
      on p.position = l.position and p.sealed_at = l.sealed_at and p.part = 'personal'
    order by l.position, l.sealed_at`
}
