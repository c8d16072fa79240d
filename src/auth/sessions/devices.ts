import type { SQL } from 'bun'
import { Failure } from '../../base/errors.ts'
import { isUuid, uuidv7 } from '../../base/ids.ts'
import type { Actor, Caller, RequestInfo } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { addressGroup } from '../../net/address.ts'
import { mailUser, originOf } from '../mailbox/notices.ts'
import { tellOwner } from '../mailbox/security-notices.ts'
import { newSecret, secretOf } from '../secrets.ts'
import type { Device } from '../shapes.ts'
import { deviceName } from './device-name.ts'
import { announceRevoked, revokeSessions } from './sessions.ts'

/**
 * Known devices. A client that keeps the token of its first login shows it at the next; its owner
 * then hears of other devices only, and limits that strangers have used up do not concern it. A
 * client that keeps nothing is recognised, for the notice alone, by its kind and its network.
 */

type AnyContext = WriteContext<Caller | null>

const DAY_MS = 86_400_000
/** How long a kind of client in a network is remembered without a token. */
const ALIKE_MS = 30 * DAY_MS
/** More than anybody has; those not seen for longest are forgotten first. */
const DEVICES_MAX = 50

/**
 * The device that shows this token, if it is one of this user's.
 * @returns its id
 */
export async function knownDevice(
  sql: SQL,
  userId: string,
  token: string | undefined,
): Promise<string | undefined> {
  if (token === undefined) return undefined
  const [row] = (await sql`
    select id from devices
    where token_hash = ${secretOf(token).hash} and user_id = ${userId}`) as { id: string }[]
  return row?.id
}

/** A device as the client that signs in from it gets to know it. */
export interface SignedInDevice {
  readonly id: string
  readonly token: string
}

/**
 * The device that a user signs in from: a known one, or a new one. The owner hears of a new one,
 * except of the very first, from which they register.
 */
export async function deviceOfSignIn(
  ctx: AnyContext,
  userId: string,
  offered: string | undefined,
  registering: boolean,
): Promise<SignedInDevice> {
  const { tx, clock, request } = ctx
  const { sql } = tx
  const known = await seenAgain(ctx, userId, offered)
  if (known !== undefined) return known
  const id = uuidv7(clock.now())
  const { text: token, hash } = newSecret()
  await sql`
    insert into devices (id, user_id, token_hash, fingerprint, user_agent, address, first_seen_at,
      last_seen_at)
    values (${id}, ${userId}, ${hash}, ${fingerprintOf(request)}, ${userAgentOf(request)},
      ${request.address}, ${clock.date()}, ${clock.date()})`
  const alike = await mergeAlike(ctx, userId, id)
  if (!alike && !registering) await noticeNewDevice(ctx, userId, id)
  await forgetSurplus(sql, userId)
  return { id, token }
}

/** Notes that a known device is back; undefined when it is none, also when just forgotten. */
async function seenAgain(
  { tx, clock, request }: AnyContext,
  userId: string,
  offered: string | undefined,
): Promise<SignedInDevice | undefined> {
  if (offered === undefined) return undefined
  const [row] = (await tx.sql`
    update devices set token_used_at = ${clock.date()}, last_seen_at = ${clock.date()},
      user_agent = ${userAgentOf(request)}, address = ${request.address},
      fingerprint = ${fingerprintOf(request)}
    where token_hash = ${secretOf(offered).hash} and user_id = ${userId}
    returning id`) as { id: string }[]
  return row === undefined ? undefined : { id: row.id, token: offered }
}

/**
 * Takes devices into the new one that are of the same kind and network and have never shown a
 * token: one client that keeps none, at each of its logins.
 * @returns whether there was one
 */
async function mergeAlike(
  { tx, clock, request }: AnyContext,
  userId: string,
  id: string,
): Promise<boolean> {
  const merged = await tx.sql`
    with alike as (
      select id, first_seen_at from devices
      where user_id = ${userId} and id <> ${id} and fingerprint = ${fingerprintOf(request)}
        and token_used_at is null and last_seen_at > ${new Date(clock.now() - ALIKE_MS)}
      for update
    ), moved as (
      update sessions set device_id = ${id} where device_id in (select id from alike)
    ), older as (
      update devices set first_seen_at = (select min(first_seen_at) from alike)
      where id = ${id} and exists(select from alike)
    )
    select id from alike`
  if (merged.length === 0) return false
  const ids = merged.map((row: { id: string }) => row.id)
  await tx.sql`delete from devices where id = any(${`{${ids.join(',')}}`}::text::uuid[])`
  return true
}

async function noticeNewDevice(ctx: AnyContext, userId: string, id: string): Promise<void> {
  const origin = originOf(ctx)
  ctx.audit({
    action: 'auth.new_device',
    actorId: userId,
    subjectId: userId,
    target: { type: 'device', id },
  })
  tellOwner(ctx, userId, 'new_device', { device: origin.device, address: origin.address })
  await mailUser(ctx, userId, 'new_device', origin)
}

async function forgetSurplus(sql: SQL, userId: string): Promise<void> {
  await sql`
    delete from devices where id in (
      select id from devices where user_id = ${userId}
      order by last_seen_at desc, id desc offset ${DEVICES_MAX})`
}

const USER_AGENT_LENGTH_MAX = 255

/** What a client says it is, of bounded length. */
export function userAgentOf({ userAgent }: RequestInfo): string | null {
  return userAgent?.slice(0, USER_AGENT_LENGTH_MAX) ?? null
}

/** What kind of client calls from which network. */
function fingerprintOf({ userAgent, address }: RequestInfo): Uint8Array {
  const text = `${deviceName(userAgent) ?? ''}\n${addressGroup(address)}`
  return Bun.CryptoHasher.hash('sha256', text)
}

/** Gives a device a new token, because the answer with the last one was lost. */
export async function renewDeviceToken(sql: SQL, id: string): Promise<string> {
  const { text, hash } = newSecret()
  await sql`update devices set token_hash = ${hash} where id = ${id}`
  return text
}

interface DeviceRow {
  readonly id: string
  readonly user_agent: string | null
  readonly address: string
  readonly first_seen_at: Date
  readonly last_seen_at: Date
  readonly sessions: number
  readonly current: boolean
}

/** The actor's devices, the newest first. */
export async function listDevices(
  { db, clock }: Kernel,
  { userId, sessionId }: Actor,
  limit: number,
  cursor: string | undefined,
): Promise<{ items: Device[]; next_cursor: string | null }> {
  if (cursor !== undefined && !isUuid(cursor)) {
    throw new Failure('validation_failed', 'Not a cursor of this list', {
      errors: [{ path: '/cursor', message: 'is not a next_cursor of this list' }],
    })
  }
  const rows = await db.read(
    async (sql): Promise<DeviceRow[]> =>
      await sql`
    select d.id, d.user_agent, d.address, d.first_seen_at,
      greatest(d.last_seen_at, max(s.last_used_at)) as last_seen_at,
      count(s.id) filter (where s.revoked_at is null and s.expires_at > ${clock.date()})::int
        as sessions,
      coalesce(bool_or(s.id = ${sessionId}), false) as current
    from devices d left join sessions s on s.device_id = d.id
    where d.user_id = ${userId}
      and (${cursor ?? null}::uuid is null or d.id < ${cursor ?? null}::uuid)
    group by d.id order by d.id desc limit ${limit + 1}`,
  )
  const items = rows.slice(0, limit).map(({ user_agent, ...row }) => ({
    ...row,
    name: deviceName(user_agent),
    first_seen_at: row.first_seen_at.toISOString(),
    last_seen_at: row.last_seen_at.toISOString(),
  }))
  return { items, next_cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
}

/**
 * Forgets a device of the actor and ends its sessions.
 * @returns how many have ended
 * @throws Failure `not_found`
 */
export async function forgetDevice(ctx: WriteContext, id: string): Promise<number> {
  const { kernel, tx, clock, actor } = ctx
  const { userId } = actor
  const [own] = await tx.sql`
    select id from devices where id = ${id} and user_id = ${userId} for update`
  if (own === undefined) throw new Failure('not_found', 'No such device')
  const which = { userId, deviceId: id }
  const revoked = await revokeSessions(tx.sql, clock, which, 'device_forgotten')
  await tx.sql`delete from devices where id = ${id}`
  ctx.audit({
    action: 'auth.device_forgotten',
    target: { type: 'device', id: own.id as string },
    after: { sessions_ended: revoked.length },
  })
  ctx.afterCommit(() => announceRevoked(kernel, revoked))
  return revoked.length
}
