import type { Caller } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { AllPersonalData } from '../../kernel/personal-data.ts'
import { tellServices } from '../../kernel/service-event.ts'
import { userClosed } from '../service-events.ts'
import { announceRevoked, revokeSessions } from '../sessions/sessions.ts'
import { lockAdministrators, refuseLastAdministrator } from './administrators.ts'
import { type LockedUser, lockUser, refuseEnvironmentAdmin } from './lock.ts'
import { closeAccount, noSuchUser } from './users.ts'

/**
 * The end of an account (`docs/decisions/012-closing.md`): what identifies the person is erased in
 * one transaction, by every feature for what it holds; what would take long is left to the queue.
 * Name and address are free again, the id stays for what refers to it.
 */

/** What stays after closing and why, one sentence each. */
export function keptAfterClosing(kernel: Kernel): string[] {
  return kernel.use(AllPersonalData).flatMap(({ kept = [] }) => kept)
}

/**
 * Locks an account that is to be closed.
 * @throws Failure `not_found` | `forbidden` for the account that the environment keeps |
 *   `conflict` for the last administrator
 */
export async function holdForClosing(
  { tx }: WriteContext<Caller | null>,
  userId: string,
): Promise<LockedUser> {
  const [known] = (await tx.sql`
    select 'admin' = any(roles) as admin from users where id = ${userId}`) as { admin: boolean }[]
  // Before the account itself, as everywhere (`administrators.ts`).
  if (known?.admin === true) refuseLastAdministrator(await lockAdministrators(tx.sql), userId)
  const user = await lockUser(tx.sql, userId)
  if (user === undefined) throw noSuchUser()
  refuseEnvironmentAdmin(user)
  return user
}

/**
 * Closes an account whose row is locked. A letter to its owner is to be written before.
 * @returns how many sessions have ended
 */
export async function eraseAccount(
  ctx: WriteContext<Caller | null>,
  userId: string,
): Promise<number> {
  const { kernel, tx, clock, afterCommit } = ctx
  for (const { forget } of kernel.use(AllPersonalData)) await forget?.(ctx, userId)
  await closeAccount(tx.sql, clock, userId)
  ctx.emit(tellServices(userClosed, clock, { user_id: userId }))
  const revoked = await revokeSessions(tx.sql, clock, { userId }, 'account_closed')
  afterCommit(() => announceRevoked(kernel, revoked))
  return revoked.length
}
