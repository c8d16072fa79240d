import type { SQL } from 'bun'
import { uuidv7 } from '../src/base/ids.ts'
import { internalRequest } from '../src/kernel/access.ts'
import { type SealedColumn, SealedColumns } from '../src/kernel/feature.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { unitOfWork } from '../src/kernel/write.ts'
import { placeOf, SEAL_BYTES, SEAL_VERSION, VaultError } from '../src/vault/vault.ts'

/**
 * Sealing anew with the first master key what is sealed with another, while everything goes on:
 * in small transactions over rows that nobody else holds. It keeps no note of where it was; what is
 * done is seen from the values themselves, so that it may be ended at any moment and begun again.
 */

/** What one column holds. */
export interface ColumnSurvey {
  readonly column: SealedColumn
  /** Sealed values by the id of their key. */
  readonly sealed: ReadonlyMap<string, number>
}

/** What was done in one column. */
export interface ColumnResealed {
  readonly column: SealedColumn
  readonly resealed: number
  /** Values that do not open, and the ids of the first few of their rows. */
  readonly unreadable: number
  readonly unreadableIds: readonly string[]
  /** Values that somebody else held, the last time too. */
  readonly held: number
}

/** Rows looked at in one transaction, and bytes in them: at least one row. */
const ROWS_AT_ONCE = 500
const BYTES_AT_ONCE = 1_048_576
/** Times a column is gone through, for rows that others held. */
const PASSES_MAX = 5
const PASS_PAUSE_MS = 500
const IDS_SHOWN_MAX = 20

const FIRST = `'\\x${SEAL_VERSION.toString(16).padStart(2, '0')}'::bytea`
/** A sealed value, in SQL: as the vault makes them, and unlike any JSON. */
const isSealed = (column: string) =>
  `(octet_length(${column}) >= ${SEAL_BYTES} and substring(${column} from 1 for 1) = ${FIRST})`
const keyId = (column: string) => `encode(substring(${column} from 2 for 4), 'hex')`

/** All sealed columns of the product. */

/** Counts the values of a column by key. */
export async function surveyColumn(
  { db }: Kernel,
  { table, column, id }: SealedColumn,
): Promise<ColumnSurvey> {
  const rows = await db.read((sql) =>
    sql.unsafe<{ key: string; count: number }[]>(
      `select ${keyId(column)} as key, count(*)::float8 as count
       from ${table} where ${isSealed(column)} group by 1 order by 1`,
    ),
  )
  return { column: { table, column, id }, sealed: new Map(rows.map((r) => [r.key, r.count])) }
}

/**
 * Seals anew what was not sealed with the first key, in one column.
 * @throws the reason of `signal`, between two transactions
 */
async function resealColumn(
  kernel: Kernel,
  column: SealedColumn,
  signal?: AbortSignal,
): Promise<ColumnResealed> {
  let resealed = 0
  for (let pass = 1; ; pass++) {
    const unreadable: string[] = []
    let stale = 0
    for (let after: string | undefined; ;) {
      signal?.throwIfAborted()
      const step = await kernel.db.transaction(({ sql }) => reseal(kernel, sql, column, after))
      resealed += step.resealed
      stale += step.stale
      unreadable.push(...step.unreadable)
      if (step.last === undefined) break
      after = step.last
    }
    const held = stale - unreadable.length
    if (held === 0 || pass === PASSES_MAX) {
      const unreadableIds = unreadable.slice(0, IDS_SHOWN_MAX)
      return { column, resealed, unreadable: unreadable.length, unreadableIds, held }
    }
    await kernel.clock.sleep(PASS_PAUSE_MS, signal)
  }
}

/** Does all columns, and writes into the audit log what was done. */
export async function resealAll(
  kernel: Kernel,
  signal?: AbortSignal,
): Promise<readonly ColumnResealed[]> {
  const results: ColumnResealed[] = []
  for (const column of kernel.use(SealedColumns)) {
    results.push(await resealColumn(kernel, column, signal))
  }
  const counts = results.map((result) => [nameOf(result.column), result.resealed] as const)
  if (counts.some(([, count]) => count > 0)) {
    const who = { actor: null, request: internalRequest(uuidv7(kernel.clock.now())) }
    await unitOfWork(kernel, who, async ({ audit }) => {
      const after = { key_id: kernel.vault.keyId, ...Object.fromEntries(counts) }
      audit({ action: 'secrets.resealed', after })
    })
  }
  return results
}

/** `table.column`. */
export const nameOf = ({ table, column }: SealedColumn) => `${table}.${column}`

interface Step {
  /** Id of the last row looked at; undefined after the end. */
  readonly last: string | undefined
  readonly resealed: number
  /** Values with another key that are left. */
  readonly stale: number
  readonly unreadable: readonly string[]
}

/** One piece of a table, from the row after `after` on, in one transaction. */
async function reseal(
  { vault }: Kernel,
  sql: SQL,
  { table, column, id }: SealedColumn,
  after: string | undefined,
): Promise<Step> {
  const [type] = await sql`
    select format_type(atttypid, atttypmod) as name from pg_attribute
    where attrelid = ${table}::text::regclass and attname = ${id}`
  const beyond = after === undefined ? 'true' : `${id} > $1::text::${type.name}`
  const bounds = after === undefined ? [] : [after]
  const [end] = await sql.unsafe<{ id: string }[]>(
    `select ${id}::text as id from (
       select ${id}, row_number() over in_order as row,
         sum(octet_length(${column})) over in_order as bytes
       from (
         select ${id}, ${column} from ${table} where ${beyond} order by ${id} limit ${ROWS_AT_ONCE}
       ) rows window in_order as (order by ${id})) piece
     where row = 1 or coalesce(bytes, 0) <= ${BYTES_AT_ONCE}
     order by piece.${id} desc limit 1`,
    bounds,
  )
  if (end === undefined) return { last: undefined, resealed: 0, stale: 0, unreadable: [] }
  const place = bounds.length + 1
  const stale = `${beyond} and ${id} <= $${place}::text::${type.name}
    and ${isSealed(column)} and ${keyId(column)} <> $${place + 1}`
  const values = [...bounds, end.id, vault.keyId]
  const [found] = await sql.unsafe<{ count: number }[]>(
    `select count(*)::int as count from ${table} where ${stale}`,
    values,
  )
  if (found?.count === 0) return { last: end.id, resealed: 0, stale: 0, unreadable: [] }
  // In the order of the key, as everybody locks; and nobody is waited for.
  const rows = await sql.unsafe<{ id: string; sealed: Uint8Array }[]>(
    `select ${id}::text as id, ${column} as sealed from ${table} where ${stale}
     order by ${table}.${id} for no key update skip locked`,
    values,
  )
  const fresh: { readonly id: string; readonly sealed: string }[] = []
  const unreadable: string[] = []
  for (const row of rows) {
    const bound = placeOf(table, column, row.id)
    try {
      const sealed = vault.seal(bound, vault.open(bound, row.sealed))
      fresh.push({ id: row.id, sealed: sealed.toString('hex') })
    } catch (error) {
      if (!(error instanceof VaultError)) throw error
      unreadable.push(row.id)
    }
  }
  await sql.unsafe(
    `update ${table} t set ${column} = decode(fresh.sealed, 'hex')
     from json_to_recordset($1::text::json) as fresh(id text, sealed text)
     where t.${id} = fresh.id::${type.name}`,
    [JSON.stringify(fresh)],
  )
  const left = (found?.count ?? 0) - fresh.length
  return { last: end.id, resealed: fresh.length, stale: left, unreadable }
}
