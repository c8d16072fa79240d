import { Failure } from '../../base/errors.ts'
import { input, t, Uuid } from '../../base/schema.ts'
import { type Actor, isAdmin, user } from '../../kernel/access.ts'
import type { Context, WriteContext } from '../../kernel/context.ts'
import { operation } from '../../kernel/operation.ts'
import { hasSecondFactor } from '../factors/mfa.ts'
import { mailUser } from '../mailbox/notices.ts'
import { OfferedPassword } from '../shapes.ts'
import { provePassword } from '../sign-in/proofs.ts'
import { eraseAccount, holdForClosing, keptAfterClosing } from './closing.ts'

/** Closing accounts: for good, so that a session alone is not enough. */

const Closed = t.Object({
  id: Uuid,
  deleted: t.Literal(true),
  kept: t.Array(t.String(), { description: 'What stays and why, one sentence each' }),
})
const Password = t.Optional({
  ...OfferedPassword,
  writeOnly: true,
  description: 'Needed for one’s own account, unless it has a second factor',
})

/** Closes anybody's account, as far as the caller may. */
export const remove = operation('users.delete', {
  summary: "Close an account: one's own, or as an administrator anybody's",
  description:
    'What identifies the person is erased, every session ends, name and address are free again; ' +
    'the id stays. Cannot be undone. Needs a fresh second factor, or for one’s own account ' +
    'without one the password.',
  rest: 'DELETE /users/:user_id',
  access: user(),
  limit: 'identity',
  input: input({ user_id: Uuid, password: Password }),
  output: Closed,
  stepUp(ctx, { user_id }) {
    ownOrAdmin(ctx.actor, user_id)
    return isOwn(ctx.actor, user_id) ? hasSecondFactor(ctx.tx.sql, ctx.actor.userId) : true
  },
  prepare: (ctx, { user_id, password }) =>
    isOwn(ctx.actor, user_id) ? proveOwner(ctx, password) : Promise.resolve(undefined),
  handler: (ctx, { user_id }, provenHash) =>
    close(ctx, user_id.toLowerCase(), provenHash as string | undefined),
})

/** Closes the caller's own account. */
export const removeMe = operation('auth.close_account', {
  summary: "Close one's own account",
  description: 'The same as `users.delete` with one’s own id.',
  rest: 'DELETE /users/me',
  access: user(),
  limit: 'identity',
  input: input({ password: Password }),
  output: Closed,
  stepUp: ({ tx, actor }) => hasSecondFactor(tx.sql, actor.userId),
  prepare: (ctx, { password }) => proveOwner(ctx, password),
  handler: (ctx, _input, provenHash) =>
    close(ctx, ctx.actor.userId, provenHash as string | undefined),
})

// Ids compare as the database does: in any case.
const isOwn = (actor: Actor, userId: string) => actor.userId === userId.toLowerCase()

function ownOrAdmin(actor: Actor, userId: string): void {
  if (isOwn(actor, userId) || isAdmin(actor)) return
  throw new Failure('forbidden', 'Not your own account, and you are no administrator')
}

/**
 * The proof of an owner who has no second factor: their password.
 * @returns the hash that it was compared with; undefined where the second factor is asked for
 */
async function proveOwner(ctx: Context, password: string | undefined): Promise<string | undefined> {
  const { kernel, actor } = ctx
  if (await kernel.db.read((sql) => hasSecondFactor(sql, actor.userId))) return undefined
  if (password !== undefined) return await provePassword(ctx, password)
  throw new Failure('validation_failed', 'Closing an account needs its password', {
    errors: [{ path: '/password', message: 'is needed, in the body' }],
  })
}

async function close(ctx: WriteContext, userId: string, provenHash: string | undefined) {
  const account = await holdForClosing(ctx, userId)
  // Both proofs may have gone out of date since they were asked for: a new password, or a second
  // factor that was removed in between.
  if (isOwn(ctx.actor, userId) && !(await hasSecondFactor(ctx.tx.sql, userId))) {
    if (provenHash === undefined || account.password_hash !== provenHash) {
      throw new Failure('conflict', 'The account was changed at this moment')
    }
  }
  // While the address is known.
  await mailUser(ctx, userId, 'account_closed', { at: ctx.clock.iso() })
  const ended = await eraseAccount(ctx, userId)
  ctx.audit({
    action: 'users.closed',
    target: { type: 'user', id: userId },
    after: { sessions_ended: ended },
  })
  return { id: userId, deleted: true, kept: keptAfterClosing(ctx.kernel) } as const
}
