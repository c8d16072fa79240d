import type { SQL } from 'bun'
import type { Clock } from '../../base/clock.ts'
import { uuidv7 } from '../../base/ids.ts'

/** The addresses that accounts had before. */

const DAY_MS = 86_400_000

/** How long an earlier address still gets notices about the account. */
export const ADDRESSES_KEPT_MS = 30 * DAY_MS
/**
 * How long nobody else may have it: as long as its owner can take the change back, and an hour for
 * what is under way then.
 */
const RESERVED_MS = 3 * DAY_MS + 3_600_000

/** Remembers an address that an account has just given up. */
export async function rememberAddress(
  sql: SQL,
  clock: Clock,
  userId: string,
  email: string,
): Promise<void> {
  await sql`
    insert into previous_addresses (id, user_id, email, changed_at, reserved_until)
    values (${uuidv7(clock.now())}, ${userId}, ${email}, ${clock.date()},
      ${new Date(clock.now() + RESERVED_MS)})`
}

/** Addresses that an account has had in the last 30 days, newest first. */
export async function previousAddresses(sql: SQL, clock: Clock, userId: string): Promise<string[]> {
  const rows = (await sql`
    select email from previous_addresses
    where user_id = ${userId} and changed_at > ${new Date(clock.now() - ADDRESSES_KEPT_MS)}
    order by changed_at desc`) as { email: string }[]
  return rows.map(({ email }) => email)
}

/**
 * Whether somebody else could still take this address back. Ask after you have taken it, in a
 * statement of its own: whoever gave it up has committed by then, which an earlier statement would
 * not see.
 */
export async function isReserved(
  sql: SQL,
  clock: Clock,
  email: string,
  userId: string,
): Promise<boolean> {
  const rows = await sql`
    select from previous_addresses
    where lower(email) = lower(${email}::text) and user_id <> ${userId}
      and reserved_until > ${clock.date()}`
  return rows.length > 0
}

/** Forgets what an account had since a moment: whoever reads there is no owner. */
export async function forgetAddressesSince(sql: SQL, userId: string, since: Date): Promise<void> {
  await sql`delete from previous_addresses where user_id = ${userId} and changed_at >= ${since}`
}
