import type { Job } from '../kernel/job.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** Longest life that the configuration lets an access token have, and a day. */
const REVOCATIONS_KEPT_MS = 31 * DAY_MS
/** Ended sessions are kept a while to tell their owner where and why. */
const SESSIONS_KEPT_MS = 30 * DAY_MS

/** Deletes tickets, tokens, sessions and revocations that nothing asks for any more. */
export const forgetEnded: Job = {
  name: 'auth.forget_ended',
  description: 'Deletes ended tickets, refresh tokens, sessions and old revocations; hourly',
  async run({ db, clock }) {
    const ago = (ms: number) => new Date(clock.now() - ms)
    await db.transaction(async ({ sql }) => {
      await sql`delete from tickets where expires_at < ${ago(HOUR_MS)}`
      await sql`delete from session_revocations where revoked_at < ${ago(REVOCATIONS_KEPT_MS)}`
      await sql`delete from refresh_tokens where expires_at < ${ago(DAY_MS)}`
      await sql`delete from sessions where expires_at < ${ago(SESSIONS_KEPT_MS)}`
    })
  },
}
