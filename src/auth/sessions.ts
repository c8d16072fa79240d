import type { SQL } from 'bun'
import type { Clock } from '../kernel/clock.ts'
import { Failure } from '../kernel/errors.ts'
import { isUuid, uuidv7 } from '../kernel/ids.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Actor, RequestInfo, WriteContext } from '../kernel/operation.ts'
import { Authenticator } from './authenticator.ts'
import { newSecret, type Secret } from './secrets.ts'
import type { Account, Session, SignedIn } from './shapes.ts'
import { getAccount } from './users.ts'

/** Sessions: the signed-in devices, what every token belongs to and what is revoked. */

/** Why a session ended; kept with it. */
export type RevocationReason =
  | 'logout'
  | 'logout_all'
  | 'revoked_by_user'
  | 'refresh_reused'
  | 'account_closed'
  | 'account_blocked'
  | 'password_changed'
  | 'mfa_changed'

const USER_AGENT_LENGTH_MAX = 255

/**
 * Opens a session for a user and answers with its first tokens.
 * @throws Failure `forbidden` for a blocked account, `not_found` for a closed one
 */
export async function signIn(ctx: WriteContext<Actor | null>, userId: string): Promise<SignedIn> {
  const { kernel, tx, clock, request } = ctx
  // Locked, so that whoever blocks or closes the account at this moment finds the new session.
  const [user] = (await tx.sql`
    select blocked_at from users where id = ${userId} for share`) as { blocked_at: Date | null }[]
  if (user?.blocked_at) throw accountBlocked()
  const sessionId = uuidv7(clock.now())
  const endsMs = clock.now() + kernel.config.jwt.refreshAbsoluteTtlMs
  await tx.sql`
    insert into sessions (id, user_id, user_agent, address, created_at, last_used_at, expires_at)
    values (${sessionId}, ${userId}, ${deviceOf(request)}, ${request.address}, ${clock.date()},
      ${clock.date()}, ${new Date(endsMs)})`
  const refresh = newSecret()
  await insertRefreshToken(kernel, tx.sql, sessionId, endsMs, refresh)
  const account = await getAccount(tx.sql, userId)
  return await answerWithTokens(kernel, account, { id: sessionId, endsMs, mfa: false }, refresh)
}

/** The refusal of tokens to a blocked account, whose owner has proven to be that. */
export const accountBlocked = () => new Failure('forbidden', 'This account is blocked')

function deviceOf({ userAgent }: RequestInfo): string | null {
  return userAgent?.slice(0, USER_AGENT_LENGTH_MAX) ?? null
}

/**
 * Signs in again by a session that an earlier request with the same idempotency key has opened.
 * @throws Failure `session_revoked`
 */
export async function signInAgain(
  { kernel, tx, clock }: WriteContext<Actor | null>,
  sessionId: string,
): Promise<SignedIn> {
  const [session] = (await tx.sql`
    select user_id, expires_at, mfa_at is not null as mfa from sessions
    where id = ${sessionId} and revoked_at is null and expires_at > ${clock.date()}
    for update`) as { user_id: string; expires_at: Date; mfa: boolean }[]
  if (session === undefined) throw new Failure('session_revoked')
  const endsMs = session.expires_at.getTime()
  const refresh = newSecret()
  await insertRefreshToken(kernel, tx.sql, sessionId, endsMs, refresh)
  const account = await getAccount(tx.sql, session.user_id)
  const { mfa } = session
  return await answerWithTokens(kernel, account, { id: sessionId, endsMs, mfa }, refresh)
}

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
 * Revokes sessions of a user, one, all or all but one, in the caller's transaction. Call
 * `announceRevoked` with the answer after the commit.
 * @returns the sessions that this call has revoked
 */
export async function revokeSessions(
  sql: SQL,
  clock: Clock,
  which: { userId: string; sessionId?: string; exceptSessionId?: string },
  reason: RevocationReason,
): Promise<string[]> {
  const { userId, sessionId = null, exceptSessionId = null } = which
  const rows = (await sql`
    with revoked as (
      update sessions set revoked_at = ${clock.date()}, revoked_reason = ${reason}
      where user_id = ${userId} and revoked_at is null
        and id = coalesce(${sessionId}::uuid, id)
        and id is distinct from ${exceptSessionId}::uuid
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
