import { constraintOf } from '../../../db/transaction.ts'
import { type Static, t, Uuid } from '../../base/schema.ts'
import { type Caller, internalRequest } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { type PerformContext, queue } from '../../kernel/queue.ts'
import { unitOfWork } from '../../kernel/write.ts'
import { sendMail } from '../../mail/index.ts'
import { forgetAddressesSince, isReserved, rememberAddress } from '../accounts/addresses.ts'
import { lockUser } from '../accounts/lock.ts'
import { alreadyTaken } from '../accounts/users.ts'
import { cancelRecovery } from '../factors/recoveries.ts'
import { announceRevoked, revokeSessions } from '../sessions/sessions.ts'
import { endLinks, makeLink, type UsedLink, useLink } from './links.ts'
import { mayMail } from './mail-limits.ts'
import { mailUser, originOf } from './notices.ts'
import { tellOwner } from './security-notices.ts'

/**
 * Changes of address: asked for with the password, done when the new mailbox has confirmed, taken
 * back from the old one within three days.
 */

type AnyContext = WriteContext<Caller | null>

const Payload = t.Object({ user_id: Uuid, email: t.String({ format: 'email' }) })

/**
 * Looks the wanted address up after the answer was given, so that neither the answer nor its time
 * tells whether the address belongs to somebody; only its mailbox hears of that.
 */
export const changeEmailQueue = queue('auth.email_change', {
  description: 'Asks the mailbox of a new address for confirmation',
  payload: Payload,
  sealed: true,
  concurrency: 2,
  deadlineMs: 10_000,
  triesMax: 8,
  backoffMs: 1_000,
  // Twice does no harm: the second letter's link ends the first one's.
  perform: (ctx, payload) => askNewAddress(ctx, payload),
})

async function askNewAddress(
  { kernel, job }: PerformContext,
  { user_id: userId, email }: Static<typeof Payload>,
): Promise<void> {
  if (!(await mayMail(kernel, 'wanted_address', email.toLowerCase()))) return
  const by = { actor: null, request: internalRequest(`job-${job.id}`) }
  await unitOfWork(kernel, by, async (ctx) => {
    const { sql } = ctx.tx
    const user = await lockUser(sql, userId)
    if (user === undefined || user.blocked_at !== null) return
    const [owner] = (await sql`
      select id from users where lower(email) = lower(${email}::text)`) as { id: string }[]
    if (owner?.id === userId) return
    if (owner !== undefined) {
      await mailUser(ctx, owner.id, 'email_change_taken', { at: ctx.clock.iso() })
      return
    }
    if (await isReserved(sql, ctx.clock, email, userId)) return
    const { locale, time_zone: timeZone } = user
    const data = await makeLink(ctx, 'confirm_email', { userId, email, locale })
    sendMail(ctx, { to: email, locale, timeZone, template: 'email_change_confirm', data, userId })
  })
}

/**
 * Gives an account the address whose mailbox has confirmed. The old mailbox, if its owner had
 * confirmed it, hears of it and can take it back; one that was never confirmed may be a stranger's.
 * @throws Failure `invalid_link` | `already_exists` | `forbidden`
 */
export async function confirmEmail(ctx: AnyContext, token: string): Promise<void> {
  const { clock, tx } = ctx
  const { user, email } = await useLink(ctx, 'confirm_email', token)
  await takeAddress(ctx, user.id, email)
  // Links that wait in the old mailbox must not work any more.
  await endLinks(tx.sql, clock, user.id, ['verify_email', 'reset_password', 'confirm_email'])
  ctx.audit({
    action: 'auth.email_changed',
    actorId: user.id,
    target: { type: 'user', id: user.id },
    personal: { before: user.email, after: email },
  })
  const { device, address } = originOf(ctx)
  tellOwner(ctx, user.id, 'email_changed', { device, address })
  if (user.email_verified_at === null) return
  await rememberAddress(tx.sql, clock, user.id, user.email)
  const { locale } = user
  const data = await makeLink(ctx, 'revert_email', { userId: user.id, email: user.email, locale })
  sendMail(ctx, {
    to: user.email,
    locale,
    timeZone: user.time_zone,
    template: 'email_changed',
    data: { ...data, ...originOf(ctx), new_email: email },
    userId: user.id,
  })
}

/**
 * Takes a change of address back, and with it what somebody who has taken over the account could
 * use: every session ends, the password no longer works, later links die. The owner gets a link
 * for a new password; the second factor stays.
 * @throws Failure `invalid_link` | `already_exists` | `forbidden`
 */
export async function revertEmail(ctx: AnyContext, token: string): Promise<void> {
  const { kernel, clock, tx } = ctx
  const used = await useLink(ctx, 'revert_email', token)
  const { user, email } = used
  await takeAddress(ctx, user.id, email)
  await tx.sql`update users set password_hash = null where id = ${user.id}`
  // Whoever had the account may have begun to remove its second factor.
  await cancelRecovery(ctx, user.id, 'email_reverted')
  await endLaterLinks(ctx, used)
  await forgetAddressesSince(tx.sql, user.id, used.madeAt)
  const revoked = await revokeSessions(tx.sql, clock, { userId: user.id }, 'email_reverted')
  ctx.afterCommit(() => announceRevoked(kernel, revoked))
  ctx.audit({
    action: 'auth.email_reverted',
    actorId: user.id,
    target: { type: 'user', id: user.id },
    after: { sessions_ended: revoked.length },
    personal: { before: user.email, after: email },
  })
  tellOwner(ctx, user.id, 'email_reverted')
  const { locale, time_zone: timeZone } = user
  const whom = { locale, timeZone, userId: user.id }
  for (const to of [email, user.email]) {
    sendMail(ctx, { ...whom, to, template: 'email_reverted', data: { at: clock.iso() } })
  }
  const link = await makeLink(ctx, 'reset_password', { userId: user.id, email, locale })
  const data = { ...link, ...originOf(ctx) }
  sendMail(ctx, { ...whom, to: email, template: 'reset_password', data })
}

/** Links that may be in the mailbox of whoever has changed the address. */
async function endLaterLinks({ tx, clock }: AnyContext, { user, madeAt }: UsedLink): Promise<void> {
  await tx.sql`
    update one_time_links set ended_at = ${clock.date()}
    where user_id = ${user.id} and ended_at is null
      and (purpose <> 'revert_email' or created_at >= ${madeAt})`
}

async function takeAddress({ tx, clock }: AnyContext, userId: string, email: string) {
  try {
    await tx.sql`
      update users set email = ${email}, email_verified_at = ${clock.date()},
        email_refused_at = null, security_changed_at = ${clock.date()}, updated_at = ${clock.date()}
      where id = ${userId}`
  } catch (error) {
    if (constraintOf(error) === 'users_email_key') throw alreadyTaken('email')
    throw error
  }
  if (await isReserved(tx.sql, clock, email, userId)) throw alreadyTaken('email')
}
