import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import { formatAmount } from '../money/money.ts'
import type { Account } from './accounts.ts'

/** Statements: every transfer of an account with the balance after it, newest first. */

/** One line, amounts in minor units. */
export interface StatementLine {
  readonly act: string
  /** Place of the transfer within the act. */
  readonly n: number
  /** RFC 3339, UTC with microseconds. */
  readonly at: string
  readonly kind: string
  readonly label: string | null
  readonly refType: string | null
  readonly refId: string | null
  /** The act that this one takes back. */
  readonly reverses: string | null
  /** Above zero for what came in, below for what went out. */
  readonly amount: bigint
  readonly balance: bigint
  /** The account on the other side. */
  readonly counterpart: number
  /** Whose wallet that is, if it is one. */
  readonly peer: string | null
}

interface Row extends Omit<StatementLine, 'amount' | 'balance' | 'counterpart'> {
  readonly amount: string
  readonly balance: string
  readonly counterpart: string
}

/** What to read of it. */
export interface StatementQuery {
  readonly limit: number
  /** The `next_cursor` of the page before. */
  readonly cursor?: string | undefined
  /** RFC 3339: from this instant on, and until before that one. */
  readonly from?: string | undefined
  readonly to?: string | undefined
}

const CURSOR = /^([1-9]\d{0,17})\.([1-9]\d{0,4})$/

/**
 * One page of an account's statement.
 * @throws Failure `validation_failed` for a cursor of something else
 */
export async function statementOf(
  sql: SQL,
  account: Account,
  query: StatementQuery,
): Promise<{ lines: StatementLine[]; nextCursor: string | null }> {
  const { limit, cursor, from = '-infinity', to = 'infinity' } = query
  const [act, n] = placeOf(cursor)
  const side = (debit: boolean) => sql`
    select act, n, at, ${debit ? sql`-amount` : sql`amount`} as amount,
      ${debit ? sql`debit_after` : sql`credit_after`} as balance,
      ${debit ? sql`credit` : sql`debit`} as counterpart
    from ledger_transfers
    where ${debit ? sql`debit` : sql`credit`} = ${account.id}
      and at >= ${from}::text::timestamptz and at < ${to}::text::timestamptz
      and (${act}::text is null or (at, act, n) < (
        (select at from ledger_transfers where act = ${act}::text::bigint and n = 1),
        ${act}::text::bigint, ${n}::text::smallint))
    order by at desc, act desc, n desc limit ${limit + 1}`
  const rows = (await sql`
    select t.act::text, t.n, a.kind, a.label, a.ref_type as "refType", a.ref_id as "refId",
      a.reverses::text, t.amount::text, t.balance::text, t.counterpart::text,
      case when o.kind = 'wallet' then o.owner end as peer,
      to_char(t.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
    from ((${side(true)}) union all (${side(false)})) t join ledger_acts a on a.id = t.act
      join ledger_accounts o on o.id = t.counterpart
    order by t.at desc, t.act desc, t.n desc limit ${limit + 1}`) as Row[]
  const lines = rows.slice(0, limit).map((row) => ({
    ...row,
    amount: BigInt(row.amount),
    balance: BigInt(row.balance),
    counterpart: Number(row.counterpart),
  }))
  const last = lines.at(-1)
  const more = rows.length > limit && last !== undefined
  return { lines, nextCursor: more ? `${last.act}.${last.n}` : null }
}

function placeOf(cursor: string | undefined): [act: string | null, n: string | null] {
  if (cursor === undefined) return [null, null]
  const match = CURSOR.exec(cursor)
  if (match !== null) return [match[1] as string, match[2] as string]
  throw new Failure('validation_failed', 'Not a cursor of this list', {
    errors: [{ path: '/cursor', message: 'is not a next_cursor of this list' }],
  })
}

/** Columns of the CSV, as its first line names them. */
const COLUMNS = ['time', 'act', 'kind', 'label', 'reference', 'asset', 'amount', 'balance'] as const

/** The first line of a statement as CSV (RFC 4180). */
export const CSV_HEADER = `${COLUMNS.join(',')}\r\n`

/** A line of a statement as CSV. */
export function csvLine(line: StatementLine, { asset }: Pick<Account, 'asset'>): string {
  const reference = line.refType === null ? '' : `${line.refType}:${line.refId}`
  const fields = [
    line.at,
    `${line.act}.${line.n}`,
    line.kind,
    inert(line.label ?? ''),
    inert(reference),
    asset.code,
    formatAmount(line.amount, asset),
    formatAmount(line.balance, asset),
  ]
  return `${fields.map(quoted).join(',')}\r\n`
}

const quoted = (field: string) =>
  /[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field
/** Spreadsheets run a text that begins like a formula. */
const inert = (text: string) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text)
