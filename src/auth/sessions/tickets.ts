import { Failure } from '../../base/errors.ts'
import type { Actor, Role } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { newSecret, secretOf } from '../secrets.ts'

/** From the asking to the upgrade; tickets stand in addresses, which are logged on the way. */
export const TICKET_TTL_MS = 30_000

/** A ticket as its client gets it. */
export interface Ticket {
  readonly ticket: string
  readonly expiresAtMs: number
}

/** Makes a ticket for the actor's own session. */
export async function makeTicket({ tx, clock, actor }: WriteContext): Promise<Ticket> {
  const { text, hash } = newSecret()
  const expiresAtMs = clock.now() + TICKET_TTL_MS
  await tx.sql`
    insert into tickets (hash, session_id, expires_at, access_until)
    values (${hash}, ${actor.sessionId}, ${new Date(expiresAtMs)}, ${new Date(actor.expiresAtMs)})`
  return { ticket: text, expiresAtMs }
}

interface Redeemed {
  readonly user_id: string
  readonly session_id: string
  readonly roles: Role[]
  readonly mfa: boolean
  readonly expires_at: Date
  readonly access_until: Date
  readonly ended: boolean
}

/**
 * Uses up a ticket. Deleting is what makes it single: of two who present it at once, one deletes.
 * @throws Failure `unauthenticated` | `session_revoked` | `token_expired` | `unavailable`
 */
export async function redeemTicket({ db, clock }: Kernel, ticket: string): Promise<Actor> {
  const { hash } = secretOf(ticket)
  const [row] = await db.transaction(
    async ({ sql }): Promise<Redeemed[]> =>
      await sql`
    with used as (delete from tickets where hash = ${hash} returning *)
    select s.user_id, s.id as session_id, s.mfa_at is not null as mfa, u.roles,
      used.expires_at, used.access_until,
      s.revoked_at is not null or u.blocked_at is not null as ended
    from used join sessions s on s.id = used.session_id join users u on u.id = s.user_id`,
  )
  if (row === undefined || clock.now() >= row.expires_at.getTime()) {
    throw new Failure('unauthenticated', 'Unknown, used or expired ticket')
  }
  if (row.ended) throw new Failure('session_revoked')
  if (clock.now() >= row.access_until.getTime()) throw new Failure('token_expired')
  return {
    kind: 'user',
    userId: row.user_id,
    sessionId: row.session_id,
    roles: row.roles,
    mfa: row.mfa,
    expiresAtMs: row.access_until.getTime(),
  }
}
