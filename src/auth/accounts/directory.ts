import type { SQL } from 'bun'
import { isUuid } from '../../base/ids.ts'
import { oneOf, type Static, t, Timestamp, Uuid } from '../../base/schema.ts'
import { type Role, ROLES } from '../../kernel/access.ts'
import { badCursor, encodeCursor, idOfCursor, pageOf } from '../../kernel/cursor.ts'
import { noSuchUser } from './users.ts'

/** Accounts as administrators see them: with what is private, without secrets. */

/** What an account may be. */
export const ACCOUNT_STATES = ['open', 'blocked', 'closed'] as const

const moment = t.Union([Timestamp, t.Null()])
const text = t.Union([t.String(), t.Null()])

/** An account as administrators see it. */
export const AccountView = t.Object({
  id: Uuid,
  email: text,
  email_verified: t.Boolean(),
  username: text,
  name: text,
  roles: t.Array(oneOf(ROLES)),
  state: oneOf(ACCOUNT_STATES),
  mfa_enabled: t.Boolean(),
  environment_admin: t.Boolean(),
  created_at: Timestamp,
  blocked_at: moment,
  blocked_reason: text,
  closed_at: moment,
  last_used_at: t.Union([Timestamp, t.Null()], { description: 'Of the newest session in use' }),
})
export type AccountView = Static<typeof AccountView>

interface Row {
  readonly id: string
  readonly email: string
  readonly email_verified: boolean
  readonly username: string
  readonly name: string | null
  readonly roles: Role[]
  readonly mfa_enabled: boolean
  readonly environment_admin: boolean
  readonly created_at: Date
  readonly blocked_at: Date | null
  readonly blocked_reason: string | null
  readonly closed_at: Date | null
  readonly last_used_at: Date | null
}

const SELECT = `
  select u.id, u.email, u.email_verified_at is not null as email_verified, u.username, u.name,
    u.roles, u.environment_admin, u.created_at, u.blocked_at, u.blocked_reason, u.closed_at,
    exists (select from second_factors f where f.user_id = u.id and f.enabled_at is not null)
      as mfa_enabled,
    (select max(s.last_used_at) from sessions s where s.user_id = u.id) as last_used_at
  from users u`

function viewOf(row: Row): AccountView {
  const closed = row.closed_at !== null
  return {
    ...row,
    // What stands in a closed account's row is made up, to keep its name free.
    email: closed || row.environment_admin ? null : row.email,
    username: closed ? null : row.username,
    state: closed ? 'closed' : row.blocked_at === null ? 'open' : 'blocked',
    created_at: row.created_at.toISOString(),
    blocked_at: row.blocked_at?.toISOString() ?? null,
    closed_at: row.closed_at?.toISOString() ?? null,
    last_used_at: row.last_used_at?.toISOString() ?? null,
  }
}

/**
 * One account, closed ones too.
 * @throws Failure `not_found`
 */
export async function viewAccount(sql: SQL, userId: string): Promise<AccountView> {
  const [row] = await sql.unsafe<Row[]>(`${SELECT} where u.id = $1::uuid`, [userId])
  if (row === undefined) throw noSuchUser()
  return viewOf(row)
}

/** Which accounts are wanted. */
export interface AccountFilter {
  /** How the name begins, or the address where it holds an `@`; or an id. In any case. */
  readonly q: string | undefined
  readonly state: (typeof ACCOUNT_STATES)[number] | undefined
  readonly role: Role | undefined
}

/** Sorts after every character that a name or an address may have. */
const AFTER_TEXT = '\u007f'

const OF_STATE = {
  open: 'u.closed_at is null and u.blocked_at is null',
  blocked: 'u.closed_at is null and u.blocked_at is not null',
  closed: 'u.closed_at is not null',
}

/**
 * Accounts: newest first, or in order of what was searched for.
 * @throws Failure `validation_failed` for a wrong cursor
 */
export async function listAccounts(
  sql: SQL,
  { q, state, role }: AccountFilter,
  { limit, cursor }: { limit: number; cursor: string | undefined },
): Promise<{ items: AccountView[]; next_cursor: string | null }> {
  const kept = [
    ...(state === undefined ? [] : [OF_STATE[state]]),
    ...(role === undefined ? [] : [`'${role}' = any(u.roles)`]),
  ]
  if (q === undefined || isId(q)) {
    const after = idOfCursor(cursor)
    const where = [
      ...kept,
      '($1::uuid is null or u.id < $1::uuid)',
      '($2::uuid is null or u.id = $2::uuid)',
    ]
    const rows = await sql.unsafe<Row[]>(
      `${SELECT} where ${where.join(' and ')} order by u.id desc limit $3`,
      [after ?? null, q ?? null, limit + 1],
    )
    return pageOf(rows.map(viewOf), limit, (last) => last.id)
  }
  const column = q.includes('@') ? 'u.email' : 'u.username'
  const after = cursor === undefined ? '' : textOfCursor(cursor)
  const first = q.toLowerCase()
  // Not those who are closed: their names are made up.
  const where = [
    ...kept,
    'u.closed_at is null',
    ...(column === 'u.email' ? ['not u.environment_admin'] : []),
    `lower(${column}) >= $1::text and lower(${column}) < $2::text and lower(${column}) > $3::text`,
  ]
  const rows = await sql.unsafe<Row[]>(
    `${SELECT} where ${where.join(' and ')} order by lower(${column}) limit $4`,
    [first, first + AFTER_TEXT, after, limit + 1],
  )
  return pageOf(rows.map(viewOf), limit, (last) =>
    encodeCursor([((column === 'u.email' ? last.email : last.username) ?? '').toLowerCase()]),
  )
}

const isId = (text: string): boolean => isUuid(text)

function textOfCursor(cursor: string): string {
  const decoded = Buffer.from(cursor, 'base64url').toString()
  if (decoded === '' || decoded.length > 254 || /[^\x21-\x7e]/.test(decoded)) throw badCursor()
  return decoded
}
