import { Failure } from '../../base/errors.ts'
import type { Caller } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { tellServices } from '../../kernel/service-event.ts'
import { sendMail } from '../../mail/index.ts'
import { lockUser } from '../accounts/lock.ts'
import { userVerified } from '../service-events.ts'
import { makeLink, useLink } from './links.ts'

/**
 * Asks the owner of a new account to show that they read mail to its address, or asks again: the
 * new link ends the one before it.
 */
export async function askToVerify(ctx: WriteContext<Caller | null>, userId: string): Promise<void> {
  const user = await lockUser(ctx.tx.sql, userId)
  if (user === undefined || user.email_verified_at !== null) return
  const { email, locale, time_zone: timeZone } = user
  const data = await makeLink(ctx, 'verify_email', { userId, email, locale })
  sendMail(ctx, { to: email, locale, timeZone, template: 'verify_email', data, userId })
}

/**
 * Notes that the owner of an account reads mail to its address.
 * @throws Failure `invalid_link` | `forbidden`
 */
export async function verifyEmail(ctx: WriteContext<Caller | null>, token: string): Promise<void> {
  const { user, email } = await useLink(ctx, 'verify_email', token)
  if (user.email.toLowerCase() !== email.toLowerCase()) throw new Failure('invalid_link')
  await confirmAddress(ctx, user.id)
  ctx.audit({
    action: 'auth.email_verified',
    actorId: user.id,
    target: { type: 'user', id: user.id },
  })
}

/** Notes that the owner of an account reads mail to its address, as something else has shown. */
export async function confirmAddress(
  { tx, clock, emit }: WriteContext<Caller | null>,
  userId: string,
): Promise<void> {
  await tx.sql`
    update users set email_verified_at = ${clock.date()}, email_refused_at = null
    where id = ${userId}`
  emit(tellServices(userVerified, clock, { user_id: userId }))
}
