import { Failure } from '../../base/errors.ts'
import { input, type Static, t, Timestamp, Uuid } from '../../base/schema.ts'
import { type Actor, anyone } from '../../kernel/access.ts'
import type { Context, WriteContext } from '../../kernel/context.ts'
import { operation } from '../../kernel/operation.ts'
import { SecurityLimits } from '../../kernel/security-limits.ts'
import { addressGroup } from '../../net/address.ts'
import { lockUser, refuseEnvironmentAdmin } from '../accounts/lock.ts'
import { LinkToken, useLink } from '../mailbox/links.ts'
import { mailUser } from '../mailbox/notices.ts'
import { tellOwner } from '../mailbox/security-notices.ts'
import { SECRET_LENGTH } from '../secrets.ts'
import { accountBlocked } from '../sessions/sessions.ts'
import { OfferedPassword } from '../shapes.ts'
import {
  holdLogin,
  proveLogin,
  type ProvenLogin,
  wrongCredentials,
} from '../sign-in/login-proof.ts'
import { proveLink } from '../sign-in/proofs.ts'
import { hasSecondFactor, removeFactor } from './mfa.ts'
import {
  cancelRecovery,
  completeRecovery,
  renewRecoveryToken,
  type StartedRecovery,
  startRecovery,
} from './recoveries.ts'

/**
 * The way back for who has lost the authenticator and the recovery codes, and still has the
 * password. Nothing that strangers can use up stands in it: tries are counted by network address.
 */

const credentials = {
  login: t.String({ minLength: 1, maxLength: 254, description: 'Email or username' }),
  password: OfferedPassword,
}

const Started = t.Object({
  recovery_id: Uuid,
  recovery_token: t.String({ description: 'To be kept for `auth.recovery.complete`' }),
  completes_at: Timestamp,
  ends_at: Timestamp,
})

const answer = ({ id, token, completes_at, ends_at }: StartedRecovery): Static<typeof Started> => ({
  recovery_id: id,
  recovery_token: token,
  completes_at: completes_at.toISOString(),
  ends_at: ends_at.toISOString(),
})

/** Compares the password; counted by where it comes from alone. */
async function prove(
  ctx: Context<Actor | null>,
  { login, password }: { login: string; password: string },
): Promise<ProvenLogin> {
  const { kernel, request } = ctx
  await kernel.use(SecurityLimits).take('recovery_start', addressGroup(request.address))
  return await proveLogin(ctx, login, password)
}

/**
 * Locks the account of a proven login.
 * @throws Failure `invalid_credentials` also where there is no second factor, so that this is no
 *   way to try passwords without its owner hearing of the right one | `forbidden`
 */
async function hold(
  ctx: WriteContext<Actor | null>,
  login: ProvenLogin,
  password: string,
): Promise<void> {
  const { sql } = ctx.tx
  // Whatever it is refused for from here on: somebody has the password.
  ctx.auditRefusal({
    action: 'auth.recovery_refused',
    outcome: 'denied',
    target: { type: 'user', id: login.userId },
  })
  const user = await lockUser(sql, login.userId)
  if (user === undefined || !(await hasSecondFactor(sql, login.userId))) throw wrongCredentials()
  await holdLogin(ctx, login, password)
  if (user.blocked_at !== null) throw accountBlocked()
  // It has no mailbox whose owner could be warned.
  refuseEnvironmentAdmin(user)
}

export const start = operation('auth.recovery.start', {
  summary: 'Ask to remove a second factor whose device and codes are lost',
  description:
    'Possible 72 hours later, and for 7 days from then, with the password and the token of this ' +
    'answer. Every mailbox of the last 30 days and every device of the account is told at once ' +
    'and again a day before, and each can stop it; so does a code of the second factor.',
  rest: 'POST /auth/recovery/start',
  status: 201,
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: input(credentials),
  output: Started,
  idempotent: true,
  secretOutput: {
    remember: ({ recovery_id }) => recovery_id,
    replay: async (ctx, id) => answer(await renewRecoveryToken(ctx, id)),
  },
  prepare: prove,
  async handler(ctx, { password }, login) {
    await hold(ctx, login, password)
    return answer(await startRecovery(ctx, login.userId))
  },
})

export const cancel = operation('auth.recovery.cancel', {
  summary: 'Stop the removal of the second factor',
  description: 'By any session of the account, or with the `token` of the link in the notice.',
  rest: 'POST /auth/recovery/cancel',
  access: anyone(),
  limit: 'identity',
  input: input({ token: t.Optional(LinkToken) }),
  output: t.Object({ cancelled: t.Boolean({ description: 'False when none was open' }) }),
  async prepare(ctx, { token }) {
    if (token !== undefined) await proveLink(ctx, 'cancel_recovery', token)
    else if (ctx.actor === null) {
      throw new Failure('unauthenticated', 'Sign in, or send the token of the link')
    }
  },
  async handler(ctx, { token }) {
    if (token !== undefined) {
      const { user } = await useLink(ctx, 'cancel_recovery', token)
      return { cancelled: await cancelRecovery(ctx, user.id, 'link') }
    }
    const { userId } = ctx.actor as Actor
    await lockUser(ctx.tx.sql, userId)
    return { cancelled: await cancelRecovery(ctx, userId, 'signed_in') }
  },
})

export const complete = operation('auth.recovery.complete', {
  summary: 'Remove the lost second factor after the delay',
  description: 'Ends every session of the account; the password then signs in alone.',
  rest: 'POST /auth/recovery/complete',
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: input({
    ...credentials,
    recovery_token: t.String({ minLength: SECRET_LENGTH, maxLength: SECRET_LENGTH }),
  }),
  output: t.Object({ completed: t.Literal(true) }),
  prepare: prove,
  async handler(ctx, { password, recovery_token }, login) {
    const { userId } = login
    await hold(ctx, login, password)
    await completeRecovery(ctx, userId, recovery_token)
    const ended = await removeFactor(ctx, userId)
    ctx.audit({
      action: 'auth.recovery_completed',
      target: { type: 'user', id: userId },
      actorId: userId,
      after: { sessions_ended: ended },
    })
    tellOwner(ctx, userId, 'recovery_completed')
    const at = ctx.clock.iso()
    await mailUser(ctx, userId, 'recovery_completed', { at }, { everyAddress: true })
    return { completed: true } as const
  },
})
