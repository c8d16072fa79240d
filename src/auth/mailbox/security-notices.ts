import type { Caller } from '../../kernel/access.ts'
import { emission } from '../../kernel/channel.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { securityEvent, type SecurityNotice, type SecurityNoticeFields } from '../channels.ts'
import { announceRevoked, revokeSessions } from '../sessions/sessions.ts'

/** What every change of an account's security brings about. */

/** Tells all of the user's devices, those that come back later too. */
export function tellOwner(
  ctx: WriteContext<Caller | null>,
  userId: string,
  notice: SecurityNotice,
  fields: SecurityNoticeFields = {},
): void {
  ctx.emit(emission(securityEvent, userId, { notice, at: ctx.clock.iso(), ...fields }))
}

/**
 * Notes that the security of an account has changed (what is risky then waits for a day) and ends
 * its sessions.
 * @returns how many have ended
 */
export async function securityChanged(
  ctx: WriteContext<Caller | null>,
  userId: string,
  exceptSessionId?: string,
): Promise<number> {
  const { kernel, clock, tx } = ctx
  await tx.sql`update users set security_changed_at = ${clock.date()} where id = ${userId}`
  const which = { userId, ...(exceptSessionId === undefined ? {} : { exceptSessionId }) }
  const revoked = await revokeSessions(tx.sql, clock, which, 'mfa_changed')
  ctx.afterCommit(() => announceRevoked(kernel, revoked))
  return revoked.length
}
