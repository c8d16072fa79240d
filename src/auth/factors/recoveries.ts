import type { SQL } from 'bun'
import { Failure } from '../../base/errors.ts'
import { uuidv7 } from '../../base/ids.ts'
import { type Static, t, Uuid } from '../../base/schema.ts'
import type { Caller } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { type JobContext, queue } from '../../kernel/queue.ts'
import { lockUser } from '../accounts/lock.ts'
import { endLinks, makeLink } from '../mailbox/links.ts'
import { mailUser, originOf } from '../mailbox/notices.ts'
import { tellOwner } from '../mailbox/security-notices.ts'
import { newSecret, secretOf } from '../secrets.ts'

/**
 * Recovery: the removal of a second factor whose device and codes are lost. Only the password is
 * asked for, so it takes days, is announced to every mailbox and device of the owner, and any of
 * them can stop it. Of an account there is at most one that is open.
 */

type AnyContext = WriteContext<Caller | null>

const HOUR_MS = 3_600_000

/** The times of a recovery, with the reason of each. */
const RECOVERY = {
  delayMs: {
    value: 72 * HOUR_MS,
    why: 'a weekend away from one’s mail; a thief has to wait it out',
  },
  reminderMs: {
    value: 24 * HOUR_MS,
    why: 'before the end: a second mail for who missed the first',
  },
  openMs: { value: 7 * 24 * HOUR_MS, why: 'after the delay: time to come back and complete it' },
} as const

/** A recovery that is open. */
export interface OpenRecovery {
  readonly id: string
  readonly started_at: Date
  readonly completes_at: Date
  readonly ends_at: Date
}

/** The recovery of an account that is open and has not run out. */
export async function openRecovery(
  sql: SQL,
  now: Date,
  userId: string,
): Promise<OpenRecovery | undefined> {
  const [row] = (await sql`
    select id, started_at, completes_at, ends_at from recoveries
    where user_id = ${userId} and completed_at is null and cancelled_at is null
      and ends_at > ${now}`) as OpenRecovery[]
  return row
}

/** A recovery as whoever began it gets to know it. */
export interface StartedRecovery extends OpenRecovery {
  /** Secret: what completes it, together with the password. */
  readonly token: string
}

/**
 * Opens a recovery and tells the owner everywhere. The user's row must be locked.
 * @throws Failure `conflict` when one is open
 */
export async function startRecovery(ctx: AnyContext, userId: string): Promise<StartedRecovery> {
  const { tx, clock } = ctx
  const { sql } = tx
  const open = await openRecovery(sql, clock.date(), userId)
  if (open !== undefined) {
    throw new Failure(
      'conflict',
      `A recovery is open and can be completed from ${open.completes_at.toISOString()}`,
    )
  }
  // One that has run out makes room.
  await sql`
    update recoveries set cancelled_at = ends_at
    where user_id = ${userId} and completed_at is null and cancelled_at is null`
  const id = uuidv7(clock.now())
  const { text: token, hash } = newSecret()
  const started_at = clock.date()
  const completes_at = new Date(clock.now() + RECOVERY.delayMs.value)
  const ends_at = new Date(completes_at.getTime() + RECOVERY.openMs.value)
  await sql`
    insert into recoveries (id, user_id, token_hash, started_at, completes_at, ends_at)
    values (${id}, ${userId}, ${hash}, ${started_at}, ${completes_at}, ${ends_at})`
  ctx.audit({
    action: 'auth.recovery_started',
    target: { type: 'user', id: userId },
    actorId: userId,
    after: { completes_at: completes_at.toISOString() },
  })
  await announce(ctx, userId, 'recovery_started', completes_at)
  const delayMs = RECOVERY.delayMs.value - RECOVERY.reminderMs.value
  ctx.enqueue(recoveryReminderQueue, { recovery_id: id }, { delayMs })
  return { id, started_at, completes_at, ends_at, token }
}

/** Tells every mailbox and every device, each with a way to stop it. */
async function announce(
  ctx: AnyContext,
  userId: string,
  notice: 'recovery_started' | 'recovery_reminder',
  completesAt: Date,
): Promise<void> {
  const user = await lockUser(ctx.tx.sql, userId)
  if (user === undefined) return
  const { email, locale } = user
  const { link } = await makeLink(ctx, 'cancel_recovery', { userId, email, locale })
  const completes_at = completesAt.toISOString()
  if (notice === 'recovery_reminder') {
    tellOwner(ctx, userId, notice, { completes_at })
    await mailUser(ctx, userId, notice, { link, completes_at }, { everyAddress: true })
    return
  }
  const origin = originOf(ctx)
  const { device, address } = origin
  tellOwner(ctx, userId, notice, { device, address, completes_at })
  await mailUser(ctx, userId, notice, { ...origin, link, completes_at }, { everyAddress: true })
}

const Reminder = t.Object({ recovery_id: Uuid })

/** Tells the owner once more, a day before the end. */
export const recoveryReminderQueue = queue('auth.recovery_reminder', {
  description: 'Reminds owners of recoveries that can soon be completed',
  payload: Reminder,
  concurrency: 2,
  deadlineMs: 10_000,
  triesMax: 20,
  backoffMs: 5_000,
  handle: (ctx, payload) => remind(ctx, payload),
})

async function remind(ctx: JobContext, { recovery_id }: Static<typeof Reminder>): Promise<void> {
  const { sql } = ctx.tx
  const [of] = (await sql`
    select user_id from recoveries where id = ${recovery_id}`) as { user_id: string }[]
  // The account first, as everywhere, so that nobody cancels in between.
  if (of === undefined || (await lockUser(sql, of.user_id)) === undefined) return
  const open = await openRecovery(sql, ctx.clock.date(), of.user_id)
  if (open?.id !== recovery_id) return
  await announce(ctx, of.user_id, 'recovery_reminder', open.completes_at)
}

/** Who stops a recovery. */
export type Stopper = 'signed_in' | 'link' | 'factor_shown' | 'email_reverted' | 'account_closed'

/**
 * Ends the open recovery of an account, if there is one.
 * @returns whether there was
 */
export async function cancelRecovery(
  ctx: AnyContext,
  userId: string,
  by: Stopper,
): Promise<boolean> {
  const { sql } = ctx.tx
  const cancelled = await sql`
    update recoveries set cancelled_at = ${ctx.clock.date()}
    where user_id = ${userId} and completed_at is null and cancelled_at is null
      and ends_at > ${ctx.clock.date()}
    returning id`
  if (cancelled.length === 0) return false
  await endLinks(sql, ctx.clock, userId, ['cancel_recovery'])
  ctx.audit({
    action: 'auth.recovery_cancelled',
    target: { type: 'user', id: userId },
    after: { by },
  })
  tellOwner(ctx, userId, 'recovery_cancelled')
  return true
}

/**
 * Marks the recovery that `token` began as completed. The user's row must be locked.
 * @throws Failure `invalid_credentials` (not the token of an open one) | `conflict` (too early)
 */
export async function completeRecovery(
  { tx, clock }: AnyContext,
  userId: string,
  token: string,
): Promise<void> {
  const { sql } = tx
  const [mine] = (await sql`
    select id, completes_at from recoveries
    where user_id = ${userId} and token_hash = ${secretOf(token).hash}
      and completed_at is null and cancelled_at is null and ends_at > ${clock.date()}
    for update`) as { id: string; completes_at: Date }[]
  if (mine === undefined) {
    throw new Failure('invalid_credentials', 'Wrong token, or the recovery is no longer open')
  }
  if (clock.now() < mine.completes_at.getTime()) {
    throw new Failure('conflict', `Too early: possible from ${mine.completes_at.toISOString()}`)
  }
  await sql`update recoveries set completed_at = ${clock.date()} where id = ${mine.id}`
  await endLinks(sql, clock, userId, ['cancel_recovery'])
}

/**
 * Makes a new token for a recovery, because the answer with the first one was lost.
 * @throws Failure `conflict` when it is no longer open
 */
export async function renewRecoveryToken(
  { tx, clock }: AnyContext,
  id: string,
): Promise<StartedRecovery> {
  const { text: token, hash } = newSecret()
  const [row] = (await tx.sql`
    update recoveries set token_hash = ${hash}
    where id = ${id} and completed_at is null and cancelled_at is null
      and ends_at > ${clock.date()}
    returning id, started_at, completes_at, ends_at`) as OpenRecovery[]
  if (row === undefined) throw new Failure('conflict', 'This recovery is no longer open')
  return { ...row, token }
}
