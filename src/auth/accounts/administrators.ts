import type { SQL } from 'bun'
import { Failure } from '../../base/errors.ts'
import { type Actor, type Role, ROLES } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { tellServices } from '../../kernel/service-event.ts'
import { mailUser } from '../mailbox/notices.ts'
import { userBlocked, userUnblocked } from '../service-events.ts'
import { announceRevoked, type RevocationReason, revokeSessions } from '../sessions/sessions.ts'
import { type LockedUser, lockUser, refuseEnvironmentAdmin } from './lock.ts'
import { noSuchUser } from './users.ts'

/**
 * What administrators do with accounts. Whoever might leave the product without an administrator
 * locks all of them first, in the order of their ids and before any other account: of two who
 * remove each other at the same moment, the second sees what the first has done.
 */

/**
 * Locks all who can act as administrators: accounts that are neither closed nor blocked.
 * @returns their ids
 */
export async function lockAdministrators(sql: SQL): Promise<ReadonlySet<string>> {
  const rows = (await sql`
    select id from users
    where 'admin' = any(roles) and closed_at is null and blocked_at is null
    order by id for no key update`) as { id: string }[]
  return new Set(rows.map(({ id }) => id))
}

/**
 * Makes sure that somebody is left when `userId` goes.
 * @throws Failure `conflict`
 */
export function refuseLastAdministrator(admins: ReadonlySet<string>, userId: string): void {
  if (admins.size > 1 || !admins.has(userId)) return
  throw new Failure('conflict', 'The last administrator cannot go: invite another one first')
}

/**
 * Locks the administrators and the account that one of them acts on.
 * @throws Failure `forbidden` when the actor was removed meanwhile, or the account is kept by the
 *   environment | `not_found`
 */
async function holdTarget(
  ctx: WriteContext,
  userId: string,
): Promise<{ admins: ReadonlySet<string>; target: LockedUser }> {
  const { tx, actor } = ctx
  const admins = await lockAdministrators(tx.sql)
  if (!admins.has(actor.userId)) {
    throw new Failure('forbidden', 'You are no administrator any more')
  }
  const target = await lockUser(tx.sql, userId)
  if (target === undefined) throw noSuchUser()
  refuseEnvironmentAdmin(target)
  return { admins, target }
}

/**
 * Blocks an account: nobody signs in to it, and every session ends.
 * @throws Failure `not_found` | `forbidden` | `conflict` (oneself, or blocked before)
 */
export async function blockAccount(
  ctx: WriteContext,
  userId: string,
  reason: string,
): Promise<void> {
  const { tx, clock, actor, audit, emit } = ctx
  if (userId === actor.userId) throw new Failure('conflict', 'You cannot block yourself')
  const { target } = await holdTarget(ctx, userId)
  if (target.blocked_at !== null) throw new Failure('conflict', 'This account is blocked already')
  await tx.sql`
    update users set blocked_at = ${clock.date()}, blocked_reason = ${reason},
      updated_at = ${clock.date()}
    where id = ${userId}`
  const ended = await endSessions(ctx, userId, 'account_blocked')
  audit({
    action: 'admin.user_blocked',
    target: { type: 'user', id: userId },
    after: { sessions_ended: ended },
    personal: { reason },
  })
  emit(tellServices(userBlocked, clock, { user_id: userId }))
  await mailUser(ctx, userId, 'account_blocked', { at: clock.iso(), reason })
}

/**
 * Opens a blocked account again.
 * @throws Failure `not_found` | `forbidden` | `conflict` when it is not blocked
 */
export async function unblockAccount(ctx: WriteContext, userId: string): Promise<void> {
  const { tx, clock, audit, emit } = ctx
  const { target } = await holdTarget(ctx, userId)
  if (target.blocked_at === null) throw new Failure('conflict', 'This account is not blocked')
  await tx.sql`
    update users set blocked_at = null, blocked_reason = null, updated_at = ${clock.date()}
    where id = ${userId}`
  audit({ action: 'admin.user_unblocked', target: { type: 'user', id: userId } })
  emit(tellServices(userUnblocked, clock, { user_id: userId }))
  await mailUser(ctx, userId, 'account_unblocked', { at: clock.iso() })
}

/**
 * Gives an account its roles. What it loses, it loses at once: tokens name roles, so its sessions
 * end. What it gains comes with the next token. Administrators are not made here but invited.
 * @returns the roles it had before
 * @throws Failure `not_found` | `forbidden` | `conflict` for the last administrator
 */
export async function setRoles(
  ctx: WriteContext,
  userId: string,
  wanted: readonly Role[],
): Promise<readonly Role[]> {
  const { tx, clock, audit } = ctx
  const { admins } = await holdTarget(ctx, userId)
  const [row] = await tx.sql`select roles from users where id = ${userId}`
  const before = row.roles as Role[]
  // In one order, and everybody is at least a user.
  const after = ROLES.filter((role) => role === 'user' || wanted.includes(role))
  if (after.includes('admin') && !before.includes('admin')) {
    throw new Failure('forbidden', 'Administrators are invited: POST /admin/invitations')
  }
  if (!after.includes('admin')) refuseLastAdministrator(admins, userId)
  await tx.sql`
    update users set roles = ${`{${after.join(',')}}`}::text::text[], updated_at = ${clock.date()}
    where id = ${userId}`
  const loses = before.some((role) => !after.includes(role))
  const ended = loses ? await endSessions(ctx, userId, 'roles_changed') : 0
  audit({
    action: 'admin.roles_changed',
    target: { type: 'user', id: userId },
    before: { roles: before },
    after: { roles: after, sessions_ended: ended },
  })
  return before
}

/** Makes an account that of an administrator, who acts as one after a second factor. */
export async function makeAdministrator(
  { tx, clock }: WriteContext<Actor | null>,
  userId: string,
): Promise<void> {
  await tx.sql`
    update users set roles = array_append(roles, 'admin'), updated_at = ${clock.date()}
    where id = ${userId} and not 'admin' = any(roles)`
}

/** Ends all sessions of an account; returns how many there were. */
async function endSessions(
  { kernel, tx, clock, afterCommit }: WriteContext,
  userId: string,
  reason: RevocationReason,
): Promise<number> {
  const revoked = await revokeSessions(tx.sql, clock, { userId }, reason)
  afterCommit(() => announceRevoked(kernel, revoked))
  return revoked.length
}
