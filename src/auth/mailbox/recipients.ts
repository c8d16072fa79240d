import type { Recipients } from '../../mail/index.ts'

/** What mail asks before it sends to an account, and tells when a mailbox refuses. */
export const recipients: Recipients = {
  async standing(sql, userId, address) {
    const [user] = (await sql`
      select lower(email) = lower(${address}::text) as current, closed_at is not null as closed
      from users where id = ${userId}`) as { current: boolean; closed: boolean }[]
    if (user === undefined || user.closed) return 'closed'
    return user.current ? 'current' : 'other'
  },

  async markRefused(sql, clock, userId, address) {
    await sql`
      update users set email_refused_at = ${clock.date()}
      where id = ${userId} and lower(email) = lower(${address}::text) and closed_at is null`
  },
}
