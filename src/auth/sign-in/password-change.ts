import { Failure } from '../../base/errors.ts'
import { type Static, t } from '../../base/schema.ts'
import { type Actor, type Caller, internalRequest } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { type PerformContext, queue } from '../../kernel/queue.ts'
import { unitOfWork } from '../../kernel/write.ts'
import { sendMail } from '../../mail/index.ts'
import { lockUser, refuseEnvironmentAdmin } from '../accounts/lock.ts'
import { endLinks, makeLink, useLink } from '../mailbox/links.ts'
import { mayMail } from '../mailbox/mail-limits.ts'
import { mailUser, originOf } from '../mailbox/notices.ts'
import { tellOwner } from '../mailbox/security-notices.ts'
import { deviceOfSignIn } from '../sessions/devices.ts'
import { announceRevoked, revokeSessions } from '../sessions/sessions.ts'
import { ownerWasProven } from './login-limits.ts'

/** New passwords: by a link in the mail for those who have forgotten theirs, or by the old one. */

type AnyContext = WriteContext<Caller | null>

const Payload = t.Object({
  email: t.String({ format: 'email' }),
  /** Who asks, for the letter and the audit log. */
  at: t.String(),
  device: t.Union([t.String(), t.Null()]),
  address: t.String(),
})

/**
 * Looks the address up after the answer was given: whether there is an account, and what becomes
 * of the request, cannot be seen from the answer nor from its time.
 */
export const forgottenPasswordQueue = queue('auth.forgotten_password', {
  description: 'Mails links for new passwords',
  payload: Payload,
  sealed: true,
  concurrency: 2,
  deadlineMs: 10_000,
  triesMax: 8,
  backoffMs: 1_000,
  // Twice does no harm: the second letter's link ends the first one's.
  perform: (ctx, payload) => mailResetLink(ctx, payload),
})

async function mailResetLink(
  { kernel, job }: PerformContext,
  { email, ...origin }: Static<typeof Payload>,
): Promise<void> {
  const [known] = (await kernel.db.read(
    (sql) => sql`
      select id from users
      where lower(email) = lower(${email}::text) and closed_at is null and blocked_at is null`,
  )) as { id: string }[]
  if (known === undefined) return
  // Over the limit nothing changes: the last link stays good for as long as it was to be.
  if (!(await mayMail(kernel, 'reset_mail_account', known.id))) return
  const by = { actor: null, request: internalRequest(`job-${job.id}`) }
  await unitOfWork(kernel, by, async (ctx) => {
    const user = await lockUser(ctx.tx.sql, known.id)
    // Blocked: a new password would not open it.
    if (user === undefined || user.blocked_at !== null || user.environment_admin) return
    const { id: userId, locale, time_zone: timeZone } = user
    const link = await makeLink(ctx, 'reset_password', { userId, email: user.email, locale })
    const data = { ...link, ...origin }
    sendMail(ctx, { to: user.email, locale, timeZone, template: 'reset_password', data, userId })
    ctx.audit({
      action: 'auth.password_reset_requested',
      target: { type: 'user', id: userId },
      personal: { address: origin.address, device: origin.device },
    })
  })
}

/**
 * Sets the password by a link. Every session ends; the second factor stays.
 * @returns the token of a known device: strangers may have used up the count of tries at logins
 * @throws Failure `invalid_link` | `forbidden`
 */
export async function resetPassword(
  ctx: AnyContext,
  token: string,
  passwordHash: string,
): Promise<string> {
  const { user, email } = await useLink(ctx, 'reset_password', token)
  // Links end with a change of address; this would be a bug of ours, and must not open an account.
  if (user.email.toLowerCase() !== email.toLowerCase()) throw new Failure('invalid_link')
  const { clock, tx } = ctx
  // Whoever has the link reads the mailbox.
  await tx.sql`
    update users set email_verified_at = coalesce(email_verified_at, ${clock.date()}),
      email_refused_at = null
    where id = ${user.id}`
  const ended = await setPassword(ctx, user.id, passwordHash)
  ctx.audit({
    action: 'auth.password_reset',
    actorId: user.id,
    target: { type: 'user', id: user.id },
    after: { sessions_ended: ended },
  })
  ownerWasProven(ctx, user.id)
  return (await deviceOfSignIn(ctx, user.id, undefined, true)).token
}

/**
 * Sets the password of somebody who has given the old one; their other sessions end.
 * @param provenHash what the old password was compared with
 * @throws Failure `conflict` when it was changed meanwhile
 */
export async function changePassword(
  ctx: WriteContext,
  provenHash: string,
  passwordHash: string,
): Promise<number> {
  const { userId, sessionId } = ctx.actor
  const user = await lockUser(ctx.tx.sql, userId)
  if (user?.password_hash !== provenHash) {
    throw new Failure('conflict', 'The password was changed at this moment')
  }
  refuseEnvironmentAdmin(user)
  const ended = await setPassword(ctx, userId, passwordHash, sessionId)
  ctx.audit({
    action: 'auth.password_changed',
    target: { type: 'user', id: userId },
    after: { sessions_ended: ended },
  })
  return ended
}

/** @returns how many sessions have ended */
async function setPassword(
  ctx: AnyContext | WriteContext<Actor>,
  userId: string,
  passwordHash: string,
  exceptSessionId?: string,
): Promise<number> {
  const { kernel, clock, tx } = ctx
  await tx.sql`
    update users set password_hash = ${passwordHash}, security_changed_at = ${clock.date()},
      updated_at = ${clock.date()}
    where id = ${userId}`
  // A change of address that somebody else has begun must not end what this one has begun.
  await endLinks(tx.sql, clock, userId, ['reset_password', 'confirm_email'])
  const which = { userId, ...(exceptSessionId === undefined ? {} : { exceptSessionId }) }
  const revoked = await revokeSessions(tx.sql, clock, which, 'password_changed')
  ctx.afterCommit(() => announceRevoked(kernel, revoked))
  const origin = originOf(ctx)
  const { device, address } = origin
  tellOwner(ctx, userId, 'password_changed', { device, address })
  await mailUser(ctx, userId, 'password_changed', origin, { everyAddress: true })
  return revoked.length
}
