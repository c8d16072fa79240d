import { Failure } from '../../base/errors.ts'
import { input, t } from '../../base/schema.ts'
import { anyone, user } from '../../kernel/access.ts'
import { operation } from '../../kernel/operation.ts'
import { SecurityLimits } from '../../kernel/security-limits.ts'
import { lockUser, refuseEnvironmentAdmin } from '../accounts/lock.ts'
import { noSuchUser } from '../accounts/users.ts'
import { hasSecondFactor } from '../factors/mfa.ts'
import { Email, OfferedPassword } from '../shapes.ts'
import { proveLink, provePassword } from '../sign-in/proofs.ts'
import { changeEmailQueue, confirmEmail, revertEmail } from './email-change.ts'
import { LinkToken } from './links.ts'
import { askToVerify, verifyEmail } from './verification.ts'

/** The address of an account: verifying, changing, taking a change back. */

export const verify = operation('auth.email.verify', {
  summary: 'Verify an address with the link of a mail',
  rest: 'POST /auth/email/verify',
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: input({ token: LinkToken }),
  output: t.Object({ email_verified: t.Literal(true) }),
  prepare: (ctx, { token }) => proveLink(ctx, 'verify_email', token),
  async handler(ctx, { token }) {
    await verifyEmail(ctx, token)
    return { email_verified: true } as const
  },
})

export const resend = operation('auth.email.resend', {
  summary: "Ask for another link that verifies one's own address",
  description: 'The new link works once within three days, and ends the one before it.',
  rest: 'POST /auth/email/resend',
  access: user(),
  limit: 'identity',
  input: input({}),
  output: t.Object({ accepted: t.Literal(true) }),
  prepare: ({ kernel, actor }) =>
    kernel.use(SecurityLimits).take('verify_mail_account', actor.userId),
  async handler(ctx) {
    const { userId } = ctx.actor
    const account = await lockUser(ctx.tx.sql, userId)
    if (account === undefined) throw noSuchUser()
    if (account.email_verified_at !== null) {
      throw new Failure('conflict', 'This address is verified already')
    }
    await askToVerify(ctx, userId)
    return { accepted: true } as const
  },
})

export const change = operation('auth.email.change', {
  summary: "Ask to change one's own address",
  description:
    'The new mailbox gets a link that makes the change, within a day. The answer is the same ' +
    'when the address belongs to another account; then its owner is told, and nothing changes.',
  rest: 'POST /auth/email/change',
  access: user(),
  limit: 'identity',
  input: input({ email: Email, password: OfferedPassword }),
  output: t.Object({ accepted: t.Literal(true) }),
  stepUp: ({ tx, actor }) => hasSecondFactor(tx.sql, actor.userId),
  prepare: async (ctx, { password }) => {
    const provenHash = await provePassword(ctx, password)
    await ctx.kernel.use(SecurityLimits).take('verify_mail_account', ctx.actor.userId)
    return provenHash
  },
  async handler(ctx, { email }, provenHash) {
    const { userId } = ctx.actor
    const account = await lockUser(ctx.tx.sql, userId)
    if (account === undefined) throw noSuchUser()
    refuseEnvironmentAdmin(account)
    if (account.password_hash !== provenHash) {
      throw new Failure('conflict', 'The password was changed at this moment')
    }
    if (account.email.toLowerCase() === email.toLowerCase()) {
      throw new Failure('conflict', 'This is the address of the account already')
    }
    ctx.enqueue(changeEmailQueue, { user_id: userId, email })
    ctx.audit({
      action: 'auth.email_change_requested',
      target: { type: 'user', id: userId },
      personal: { email },
    })
    return { accepted: true } as const
  },
})

export const confirm = operation('auth.email.confirm', {
  summary: 'Change the address of an account with the link of a mail',
  rest: 'POST /auth/email/confirm',
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: input({ token: LinkToken }),
  output: t.Object({ email_changed: t.Literal(true) }),
  prepare: (ctx, { token }) => proveLink(ctx, 'confirm_email', token),
  async handler(ctx, { token }) {
    await confirmEmail(ctx, token)
    return { email_changed: true } as const
  },
})

export const revert = operation('auth.email.revert', {
  summary: 'Take a change of address back with the link of a mail',
  description:
    'The account gets its old address again and every session ends. The password no longer ' +
    'works; a link for a new one goes to the old address. A second factor stays.',
  rest: 'POST /auth/email/revert',
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: input({ token: LinkToken }),
  output: t.Object({ email_reverted: t.Literal(true) }),
  prepare: (ctx, { token }) => proveLink(ctx, 'revert_email', token),
  async handler(ctx, { token }) {
    await revertEmail(ctx, token)
    return { email_reverted: true } as const
  },
})
