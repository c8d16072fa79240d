import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'

/** Who may have money. */

/**
 * Makes sure that these people's accounts are open, and stay so until the transaction ends.
 * @param blocked whether people who are blocked will do
 * @throws Failure `not_found`, the same for nobody, the closed and the blocked
 */
export async function lockPeople(
  sql: SQL,
  ids: readonly string[],
  options: { readonly blocked: 'refused' | 'allowed' },
): Promise<void> {
  const wanted = new Set(ids)
  const rows = (await sql`
    select blocked_at is not null as blocked from users
    where id = any(${`{${[...wanted].join(',')}}`}::text::uuid[]) and closed_at is null
    order by id for share`) as { blocked: boolean }[]
  const missing = rows.length < wanted.size
  if (!missing && (options.blocked === 'allowed' || !rows.some(({ blocked }) => blocked))) return
  throw new Failure('not_found', 'No such user')
}

/**
 * Whether there is such a user, with an account that is not closed.
 * @param options.lock keeps it so until the transaction ends
 */
export async function isOpen(
  sql: SQL,
  userId: string,
  options: { readonly lock?: boolean } = {},
): Promise<boolean> {
  const rows = await sql`
    select from users where id = ${userId} and closed_at is null
    ${options.lock === true ? sql`for share` : sql``}`
  return rows.length === 1
}
