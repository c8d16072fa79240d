import { input, t } from '../../base/schema.ts'
import { anyone, user } from '../../kernel/access.ts'
import { operation } from '../../kernel/operation.ts'
import { SecurityLimits } from '../../kernel/security-limits.ts'
import { addressGroup } from '../../net/address.ts'
import { hasSecondFactor } from '../factors/mfa.ts'
import { LinkToken } from '../mailbox/links.ts'
import { originOf } from '../mailbox/notices.ts'
import { secretOf } from '../secrets.ts'
import { Email, NewPassword, OfferedPassword } from '../shapes.ts'
import { changePassword, forgottenPasswordQueue, resetPassword } from './password-change.ts'
import { Passwords } from './passwords.ts'
import { proveLink, provePassword } from './proofs.ts'

/** New passwords. */

export const forgot = operation('auth.password.forgot', {
  summary: 'Ask for a link that sets a new password',
  description:
    'The answer is the same whether or not there is an account with this address; the link goes ' +
    'to its mailbox, works once within an hour, and ends the one before it.',
  rest: 'POST /auth/password/forgot',
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: input({ email: Email }),
  output: t.Object({ accepted: t.Literal(true) }),
  prepare: ({ kernel, request }) =>
    kernel.use(SecurityLimits).take('reset_mail_address', addressGroup(request.address)),
  handler: (ctx, { email }) => {
    // One waiting request for an address is enough, however often it is made.
    const key = Buffer.from(secretOf(email.toLowerCase()).hash).toString('base64url')
    ctx.enqueue(forgottenPasswordQueue, { email, ...originOf(ctx) }, { key })
    return Promise.resolve({ accepted: true } as const)
  },
})

export const reset = operation('auth.password.reset', {
  summary: 'Set a new password with the link of a mail',
  description:
    'Ends every session of the account. A second factor stays, and is asked for at the next ' +
    'login, which passes by what strangers have used up when it shows the device token.',
  rest: 'POST /auth/password/reset',
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: input({ token: LinkToken, password: NewPassword }),
  output: t.Object({
    password_changed: t.Literal(true),
    device_token: t.String({ description: 'To be sent with the next login' }),
  }),
  async prepare(ctx, { token, password }) {
    // Hashing costs 0.1 s of a core: not for whoever has no link.
    await proveLink(ctx, 'reset_password', token)
    return await ctx.kernel.use(Passwords).hash(password)
  },
  async handler(ctx, { token }, passwordHash) {
    const device = await resetPassword(ctx, token, passwordHash)
    return { password_changed: true, device_token: device } as const
  },
})

export const change = operation('auth.password.change', {
  summary: "Change one's own password",
  description: 'Ends every other session of the account.',
  rest: 'POST /auth/password/change',
  access: user(),
  limit: 'identity',
  input: input({ current_password: OfferedPassword, password: NewPassword }),
  output: t.Object({
    password_changed: t.Literal(true),
    sessions_ended: t.Integer({ description: 'Other sessions that this has ended' }),
  }),
  stepUp: ({ tx, actor }) => hasSecondFactor(tx.sql, actor.userId),
  async prepare(ctx, { current_password, password }) {
    const provenHash = await provePassword(ctx, current_password)
    return { provenHash, passwordHash: await ctx.kernel.use(Passwords).hash(password) }
  },
  async handler(ctx, _input, { provenHash, passwordHash }) {
    const ended = await changePassword(ctx, provenHash, passwordHash)
    return { password_changed: true, sessions_ended: ended } as const
  },
})
