import type { SQL } from 'bun'
import type { Clock } from '../../base/clock.ts'
import { Failure } from '../../base/errors.ts'
import { isUuid } from '../../base/ids.ts'
import type { Actor } from '../../kernel/access.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import type { Secret } from '../secrets.ts'
import type { Account, Session, SignedIn } from '../shapes.ts'
import { Authenticator } from './authenticator.ts'

/** Sessions: the signed-in devices, what every token belongs to and what is revoked. */

/** Why a session ended; kept with it. */
export type RevocationReason =
  | 'logout'
  | 'logout_all'
  | 'revoked_by_user'
  | 'refresh_reused'
  | 'account_closed'
  | 'account_blocked'
  | 'roles_changed'
  | 'environment_changed'
  | 'password_changed'
  | 'email_reverted'
  | 'mfa_changed'
  | 'device_forgotten'

/** The refusal of tokens to a blocked account, whose owner has proven to be that. */
export const accountBlocked = () => new Failure('forbidden', 'This account is blocked')

/** Stores a refresh token, which slides but never beyond the end of its session. */
export async function insertRefreshToken(
  { clock, config }: Kernel,
  sql: SQL,
  sessionId: string,
  sessionEndsMs: number,
  { hash }: Secret,
): Promise<void> {
  const expiresAtMs = Math.min(clock.now() + config.jwt.refreshTtlMs, sessionEndsMs)
  await sql`
    insert into refresh_tokens (hash, session_id, created_at, expires_at)
    values (${hash}, ${sessionId}, ${clock.date()}, ${new Date(expiresAtMs)})`
}

/** What tokens say of a session. */
export interface OpenSession {
  readonly id: string
  /** In milliseconds since the epoch. */
  readonly endsMs: number
  /** It has shown a second factor. */
  readonly mfa: boolean
}

/** The answer of everything that signs somebody in, with a fresh access token. */
export async function answerWithTokens(
  kernel: Kernel,
  account: Account,
  session: OpenSession,
  refresh: Secret,
): Promise<SignedIn> {
  const { token, expiresAtMs } = await kernel.use(Authenticator).issue({
    userId: account.id,
    sessionId: session.id,
    roles: account.roles,
    sessionEndsMs: session.endsMs,
    mfa: session.mfa,
  })
  return {
    token,
    refresh_token: refresh.text,
    token_type: 'Bearer',
    expires_at: new Date(expiresAtMs).toISOString(),
    session_id: session.id,
    user: account,
  }
}

/**
 * Revokes sessions of a user (one, all, all but one, a device's) in the caller's transaction. Call
 * `announceRevoked` with the answer after the commit.
 * @returns the sessions that this call has revoked
 */
export async function revokeSessions(
  sql: SQL,
  clock: Clock,
  which: { userId: string; sessionId?: string; exceptSessionId?: string; deviceId?: string },
  reason: RevocationReason,
): Promise<string[]> {
  const { userId, sessionId = null, exceptSessionId = null, deviceId = null } = which
  const rows = (await sql`
    with revoked as (
      update sessions set revoked_at = ${clock.date()}, revoked_reason = ${reason}
      where user_id = ${userId} and revoked_at is null
        and id = coalesce(${sessionId}::uuid, id)
        and id is distinct from ${exceptSessionId}::uuid
        and (${deviceId}::uuid is null or device_id = ${deviceId}::uuid)
      returning id
    )
    insert into session_revocations (session_id) select id from revoked
    returning session_id`) as { session_id: string }[]
  return rows.map((row) => row.session_id)
}

/** Makes a committed revocation bite at once, here and on every other instance. */
export function announceRevoked(kernel: Kernel, sessionIds: readonly string[]): void {
  if (sessionIds.length === 0) return
  kernel.use(Authenticator).applyRevoked(sessionIds)
  kernel.announcer.revoked(sessionIds)
}

interface SessionRow {
  readonly id: string
  readonly created_at: Date
  readonly last_used_at: Date
  readonly user_agent: string | null
  readonly address: string
}

/** The actor's sessions that can still be used, newest first. */
export async function listSessions(
  { db, clock, config }: Kernel,
  actor: Actor,
  limit: number,
  cursor: string | undefined,
): Promise<{ items: Session[]; next_cursor: string | null }> {
  if (cursor !== undefined && !isUuid(cursor)) {
    throw new Failure('validation_failed', 'Not a cursor of this list', {
      errors: [{ path: '/cursor', message: 'is not a next_cursor of this list' }],
    })
  }
  // Unused for longer than any of its tokens lives: nobody is signed in there any more.
  const { refreshTtlMs, accessTtlMs } = config.jwt
  const usedSince = new Date(clock.now() - Math.max(refreshTtlMs, accessTtlMs))
  const rows = await db.read(
    async (sql): Promise<SessionRow[]> =>
      await sql`
    select id, created_at, last_used_at, user_agent, address from sessions
    where user_id = ${actor.userId} and revoked_at is null
      and expires_at > ${clock.date()} and last_used_at > ${usedSince}
      and (${cursor ?? null}::uuid is null or id < ${cursor ?? null}::uuid)
    order by id desc limit ${limit + 1}`,
  )
  const items = rows.slice(0, limit).map((row) => ({
    ...row,
    created_at: row.created_at.toISOString(),
    last_used_at: row.last_used_at.toISOString(),
    current: row.id === actor.sessionId,
  }))
  return { items, next_cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
}
