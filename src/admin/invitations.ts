import type { SQL } from 'bun'
import {
  confirmAddress,
  createUser,
  findOwner,
  getAccount,
  lockAdministrators,
  lockUser,
  makeAdministrator,
  newSecret,
  pageLink,
  secretOf,
  userRegistered,
} from '../auth/index.ts'
import type { Clock } from '../base/clock.ts'
import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import type { Actor } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import { tellServices } from '../kernel/service-event.ts'
import { sendMail } from '../mail/index.ts'

/**
 * Invitations to become an administrator: a link to an address, good once within 72 hours, and no
 * longer than its maker is one. Of an address at most one is open; a new one ends the one before.
 */

/** A weekend. Longer, and the link lies in a mailbox that changes hands. */
const LIFE_MS = 72 * 3_600_000
/** Open at the same time; a product has a handful of administrators. */
const OPEN_MAX = 50

/** What an invitation may have come to. */
export const INVITATION_STATES = ['open', 'accepted', 'revoked', 'expired'] as const
export type InvitationState = (typeof INVITATION_STATES)[number]

/** An invitation as it lies in its table. */
export interface InvitationRow {
  readonly id: string
  readonly email: string
  readonly invited_by: string
  readonly created_at: Date
  readonly expires_at: Date
  readonly accepted_at: Date | null
  readonly accepted_by: string | null
  readonly revoked_at: Date | null
}

const COLUMNS =
  'id, email, invited_by, created_at, expires_at, accepted_at, accepted_by, revoked_at'

/** Whether it can still be accepted, or why not. */
export function stateOf(row: InvitationRow, nowMs: number): InvitationState {
  if (row.accepted_at !== null) return 'accepted'
  if (row.revoked_at !== null) return 'revoked'
  return row.expires_at.getTime() <= nowMs ? 'expired' : 'open'
}

/**
 * Invites an address, by a letter in the inviter's language, or in its owner's when it has an
 * account.
 * @throws Failure `already_exists` for an administrator's address | `conflict` | `forbidden`
 */
export async function invite(ctx: WriteContext, email: string): Promise<InvitationRow> {
  const { tx, clock, actor, audit } = ctx
  const { sql } = tx
  const admins = await lockAdministrators(sql)
  if (!admins.has(actor.userId)) throw new Failure('forbidden', 'You are no administrator any more')
  const known = await findOwner(sql, email)
  if (known !== undefined && admins.has(known.id)) {
    throw new Failure('already_exists', 'This is the address of an administrator')
  }
  await sql`
    update admin_invitations set revoked_at = ${clock.date()}
    where lower(email) = lower(${email}::text) and accepted_at is null and revoked_at is null`
  await refuseTooMany(sql, clock)
  const { text, hash } = newSecret()
  const id = uuidv7(clock.now())
  const expiresAt = new Date(clock.now() + LIFE_MS)
  const row = await insert(sql, { id, hash, email, by: actor.userId, at: clock.date(), expiresAt })
  await mailInvitation(ctx, row, text)
  audit({
    action: 'admin.invitation_created',
    target: { type: 'invitation', id },
    personal: { email },
    ...(known === undefined ? {} : { subjectId: known.id }),
  })
  return row
}

interface NewInvitation {
  readonly id: string
  readonly hash: Uint8Array
  readonly email: string
  readonly by: string
  readonly at: Date
  readonly expiresAt: Date
}

async function insert(sql: SQL, made: NewInvitation): Promise<InvitationRow> {
  const { id, hash, email, by, at, expiresAt } = made
  const [row] = await sql.unsafe<InvitationRow[]>(
    `insert into admin_invitations (id, hash, email, invited_by, created_at, expires_at)
    values ($1, $2, $3, $4, $5, $6) returning ${COLUMNS}`,
    [id, hash, email, by, at, expiresAt],
  )
  return row as InvitationRow
}

async function refuseTooMany(sql: SQL, clock: Clock): Promise<void> {
  const [row] = await sql`
    select count(*)::int as open from admin_invitations
    where accepted_at is null and revoked_at is null and expires_at > ${clock.date()}`
  if (row.open < OPEN_MAX) return
  throw new Failure('conflict', `${OPEN_MAX} invitations are open, the most there may be`)
}

async function mailInvitation(
  ctx: WriteContext,
  { email, expires_at }: InvitationRow,
  token: string,
): Promise<void> {
  const { kernel, tx, actor } = ctx
  const { username: inviter, ...own } = await getAccount(tx.sql, actor.userId)
  const { locale, time_zone: timeZone } = (await findOwner(tx.sql, email)) ?? own
  const data = {
    link: pageLink(kernel.config, 'accept-invitation', locale, token),
    expires_at: expires_at.toISOString(),
    inviter,
  }
  sendMail(ctx, { to: email, locale, timeZone, template: 'admin_invitation', data })
}

/** Invitations, newest first, before an id. */
export async function listInvitations(
  sql: SQL,
  limit: number,
  before: string | undefined,
): Promise<InvitationRow[]> {
  return await sql.unsafe<InvitationRow[]>(
    `select ${COLUMNS} from admin_invitations where $1::uuid is null or id < $1::uuid
    order by id desc limit $2`,
    [before ?? null, limit],
  )
}

/**
 * Takes an invitation back.
 * @throws Failure `not_found` | `conflict` when it is not open any more
 */
export async function revokeInvitation(ctx: WriteContext, id: string): Promise<InvitationRow> {
  const { tx, clock, audit } = ctx
  const [found] = await tx.sql.unsafe<InvitationRow[]>(
    `select ${COLUMNS} from admin_invitations where id = $1::uuid for update`,
    [id],
  )
  if (found === undefined) throw new Failure('not_found', 'No such invitation')
  const state = stateOf(found, clock.now())
  if (state !== 'open') throw new Failure('conflict', `This invitation is ${state} already`)
  const revoked_at = clock.date()
  await tx.sql`update admin_invitations set revoked_at = ${revoked_at} where id = ${id}`
  audit({ action: 'admin.invitation_revoked', target: { type: 'invitation', id: found.id } })
  return { ...found, revoked_at }
}

/** What somebody who is not signed in says to become somebody. */
export interface Newcomer {
  readonly username: string | undefined
  readonly passwordHash: string
}

/** The one refusal of links that are not, or no longer, good for anything. */
const invalidLink = () => new Failure('invalid_link', 'This link is wrong, used or expired')

/**
 * Looks whether an invitation can be accepted; a look that changes nothing, before expensive work.
 * @throws Failure `invalid_link`
 */
export async function peekInvitation(sql: SQL, clock: Clock, token: string): Promise<void> {
  const rows = await sql`
    select from admin_invitations where hash = ${secretOf(token).hash}
      and accepted_at is null and revoked_at is null and expires_at > ${clock.date()}`
  if (rows.length === 0) throw invalidLink()
}

/**
 * Accepts an invitation: as the signed-in owner of its address, or as a newcomer, who gets an
 * account whose address counts as confirmed. Of several at once one succeeds.
 * @returns the new administrator's id
 * @throws Failure `invalid_link` | `forbidden` (another address) | `already_exists` (the address
 *   has an account: sign in) | `validation_failed` (a newcomer without a password)
 */
export async function acceptInvitation(
  ctx: WriteContext<Actor | null>,
  token: string,
  newcomer: Newcomer | undefined,
): Promise<string> {
  const { tx, clock, actor, audit } = ctx
  const [found] = await tx.sql.unsafe<InvitationRow[]>(
    `select ${COLUMNS} from admin_invitations where hash = $1 for update`,
    [secretOf(token).hash],
  )
  if (found === undefined || stateOf(found, clock.now()) !== 'open') throw invalidLink()
  const { id, email } = found
  const userId =
    actor === null ? await welcome(ctx, email, newcomer) : await ownerOf(ctx.tx.sql, email, actor)
  await makeAdministrator(ctx, userId)
  await tx.sql`
    update admin_invitations set accepted_at = ${clock.date()}, accepted_by = ${userId}
    where id = ${id}`
  audit({
    action: 'admin.invitation_accepted',
    actorId: userId,
    target: { type: 'user', id: userId },
    after: { invitation_id: id, invited_by: found.invited_by, new_account: actor === null },
  })
  return userId
}

async function ownerOf(sql: SQL, email: string, { userId }: Actor): Promise<string> {
  const user = await lockUser(sql, userId)
  if (user?.blocked_at === null && user.email.toLowerCase() === email.toLowerCase()) return userId
  throw new Failure('forbidden', 'This invitation is for another address')
}

async function welcome(
  ctx: WriteContext<Actor | null>,
  email: string,
  newcomer: Newcomer | undefined,
): Promise<string> {
  const { tx, clock } = ctx
  if ((await findOwner(tx.sql, email)) !== undefined) {
    throw new Failure('already_exists', 'This address has an account: sign in and accept there')
  }
  if (newcomer === undefined) {
    throw new Failure('validation_failed', 'A new account needs a password', {
      errors: [{ path: '/password', message: 'is needed' }],
    })
  }
  const { username, passwordHash } = newcomer
  // The password is not looked at again: only its hash is stored.
  const account = { email, password: '', ...(username === undefined ? {} : { username }) }
  const userId = await createUser(tx.sql, clock, account, passwordHash)
  ctx.emit(tellServices(userRegistered, clock, { user_id: userId }))
  await confirmAddress(ctx, userId)
  return userId
}

/** Ends what somebody has invited who may not invite any more. */
export async function endInvitationsBy(sql: SQL, clock: Clock, userId: string): Promise<void> {
  await sql`
    update admin_invitations set revoked_at = ${clock.date()}
    where invited_by = ${userId} and accepted_at is null and revoked_at is null`
}

/** Ends what somebody has invited, and forgets the address at which they were. */
export async function forgetInvitationsOf(sql: SQL, clock: Clock, userId: string): Promise<void> {
  await endInvitationsBy(sql, clock, userId)
  await sql`
    update admin_invitations set email = ${GONE} where accepted_by = ${userId}`
  await sql`
    delete from admin_invitations
    where accepted_at is null
      and lower(email) = (select lower(email) from users where id = ${userId})`
}
/** In the place of the address of somebody who has left. */
const GONE = 'closed@deleted.invalid'
