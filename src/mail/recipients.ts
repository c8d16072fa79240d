import type { SQL } from 'bun'
import type { Clock } from '../base/clock.ts'
import { type LetterName, REACH } from './letters.ts'

/**
 * Whether a letter may still go where it was to go. Between writing and sending, minutes may pass
 * (hours, while the mail server is away), in which the account was closed or has another address.
 * The one place where mail looks into the table of users: asking identity would be a circle.
 */
export async function mayReach(
  sql: SQL,
  letter: LetterName,
  userId: string,
  address: string,
): Promise<boolean> {
  const reach = REACH[letter]
  if (reach === 'closed') return true
  const [user] = (await sql`
    select lower(email) = lower(${address}::text) as current, closed_at is not null as closed
    from users where id = ${userId}`) as { current: boolean; closed: boolean }[]
  if (user === undefined || user.closed) return false
  return reach === 'given' || user.current
}

/** Notes that a mailbox takes no mail, for as long as it is the account's. */
export async function markRefused(sql: SQL, clock: Clock, userId: string, address: string) {
  await sql`
    update users set email_refused_at = ${clock.date()}
    where id = ${userId} and lower(email) = lower(${address}::text) and closed_at is null`
}
