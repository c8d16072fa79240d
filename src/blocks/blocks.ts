import type { SQL } from 'bun'
import { findProfiles, noSuchUser } from '../auth/index.ts'
import { Failure } from '../base/errors.ts'
import type { WriteContext } from '../kernel/context.ts'
import type { Place } from '../kernel/cursor.ts'
import { changeContacts } from './contacts.ts'

/** The table of blocks. */

/** Enough for whoever is hunted by a crowd; a list that a client can still load. */
const BLOCKS_MAX = 10_000

/**
 * SQL that is true while `blocker` blocks `blocked`, both SQL expressions of ids. For queries that
 * must look at it row by row.
 */
export const blocksSql = (blocker: string, blocked: string) =>
  `exists (select from user_blocks k where k.blocker_id = ${blocker} and k.blocked_id = ${blocked})`

/**
 * Blocks a user; again, it stays as it was.
 * @returns since when
 * @throws Failure `not_found` | `validation_failed` (oneself) | `conflict` (too many)
 */
export async function addBlock(ctx: WriteContext, blockedId: string): Promise<Date> {
  const { tx, clock, actor, audit } = ctx
  if (blockedId === actor.userId) {
    throw new Failure('validation_failed', 'You cannot block yourself', {
      errors: [{ path: '/user_id', message: 'is your own' }],
    })
  }
  const [profile] = await findProfiles(tx.sql, [blockedId])
  if (profile === undefined) throw noSuchUser()
  const [row] = await tx.sql`
    select count(*)::int as count from user_blocks where blocker_id = ${actor.userId}`
  const made = await tx.sql`
    insert into user_blocks (blocker_id, blocked_id, created_at)
    values (${actor.userId}, ${blockedId}, ${clock.date()})
    on conflict do nothing returning created_at`
  if (made.length === 0) return await blockedSince(tx.sql, actor.userId, blockedId)
  if (row.count >= BLOCKS_MAX) {
    throw new Failure('conflict', `You have blocked ${BLOCKS_MAX} people, the most there may be`)
  }
  await changeContacts(ctx, actor.userId, blockedId)
  audit({ action: 'safety.user_blocked', target: { type: 'user', id: blockedId } })
  return made[0].created_at as Date
}

async function blockedSince(sql: SQL, blockerId: string, blockedId: string): Promise<Date> {
  const [row] = await sql`
    select created_at from user_blocks
    where blocker_id = ${blockerId} and blocked_id = ${blockedId}`
  // Gone between the two statements: unblocked at the same moment, from another device.
  if (row === undefined) throw new Failure('conflict', 'Unblocked at the same moment')
  return row.created_at as Date
}

/** Unblocks a user; whoever is not blocked stays so. */
export async function removeBlock(ctx: WriteContext, blockedId: string): Promise<void> {
  const { tx, actor, audit } = ctx
  const gone = await tx.sql`
    delete from user_blocks where blocker_id = ${actor.userId} and blocked_id = ${blockedId}
    returning 1`
  if (gone.length === 0) return
  await changeContacts(ctx, actor.userId, blockedId)
  audit({ action: 'safety.user_unblocked', target: { type: 'user', id: blockedId } })
}

/** Somebody whom a user has blocked. */
export interface BlockRow {
  readonly user_id: string
  readonly username: string
  readonly name: string | null
  readonly avatar: string | null
  readonly blocked_at: Date
}

/** Whom a user has blocked, newest first, after `place`. */
export async function listBlocks(
  sql: SQL,
  blockerId: string,
  limit: number,
  place: Place | undefined,
): Promise<BlockRow[]> {
  return await sql`
    select u.id as user_id, u.username, u.name, u.avatar, k.created_at as blocked_at
    from user_blocks k join users u on u.id = k.blocked_id
    where k.blocker_id = ${blockerId} and (${place === undefined}
      or (k.created_at, k.blocked_id)
        < (${place?.at ?? null}::text::timestamptz, ${place?.id ?? null}::uuid))
    order by k.created_at desc, k.blocked_id desc limit ${limit}`
}

/** Forgets whom somebody has blocked, and who has blocked them. */
export async function forgetBlocks(sql: SQL, userId: string): Promise<void> {
  await sql`delete from user_blocks where blocker_id = ${userId}`
  await sql`delete from user_blocks where blocked_id = ${userId}`
}
