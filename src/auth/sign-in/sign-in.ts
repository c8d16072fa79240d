import { Failure } from '../../base/errors.ts'
import { uuidv7 } from '../../base/ids.ts'
import type { Actor } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { getAccount } from '../accounts/users.ts'
import { hasSecondFactor, useFactor } from '../factors/mfa.ts'
import { newSecret } from '../secrets.ts'
import { deviceOfSignIn, renewDeviceToken, userAgentOf } from '../sessions/devices.ts'
import { accountBlocked, answerWithTokens, insertRefreshToken } from '../sessions/sessions.ts'
import type { SignedIn } from '../shapes.ts'

/** The opening of sessions. Whoever signs somebody in comes through here. */

/** What a client brings along, beside the proof of who it is. */
export interface SignInOptions {
  /** A code of the second factor, which an account that has one needs. */
  readonly mfaCode?: string | undefined
  /** Token of a device that has signed in before. */
  readonly deviceToken?: string | undefined
  /** The account is new: its first device is no news to anybody. */
  readonly registering?: boolean
}

/**
 * Opens a session for a user and answers with its first tokens.
 * @throws Failure `forbidden` for a blocked account, `not_found` for a closed one,
 *   `mfa_code_required` | `invalid_code`
 */
export async function signIn(
  ctx: WriteContext<Actor | null>,
  userId: string,
  options: SignInOptions = {},
): Promise<SignedIn> {
  const { kernel, tx, clock, request } = ctx
  const { mfaCode, deviceToken, registering = false } = options
  // Locked, so that whoever blocks or closes the account at this moment finds the new session.
  const [user] = (await tx.sql`
    select blocked_at from users where id = ${userId} for share`) as { blocked_at: Date | null }[]
  if (user?.blocked_at) throw accountBlocked()
  const mfa = await showFactor(ctx, userId, mfaCode)
  const account = await getAccount(tx.sql, userId)
  const device = await deviceOfSignIn(ctx, userId, deviceToken, registering)
  const sessionId = uuidv7(clock.now())
  const endsMs = clock.now() + kernel.config.jwt.refreshAbsoluteTtlMs
  await tx.sql`
    insert into sessions (id, user_id, user_agent, address, created_at, last_used_at, expires_at,
      mfa_at, device_id)
    values (${sessionId}, ${userId}, ${userAgentOf(request)}, ${request.address}, ${clock.date()},
      ${clock.date()}, ${new Date(endsMs)}, ${mfa ? clock.date() : null}, ${device.id})`
  ctx.audit({
    action: 'auth.signed_in',
    actorId: userId,
    subjectId: userId,
    target: { type: 'session', id: sessionId },
    after: { mfa, device_id: device.id },
  })
  const refresh = newSecret()
  await insertRefreshToken(kernel, tx.sql, sessionId, endsMs, refresh)
  const answer = await answerWithTokens(kernel, account, { id: sessionId, endsMs, mfa }, refresh)
  return { ...answer, device_token: device.token }
}

/** @returns whether there was a factor to show */
async function showFactor(
  ctx: WriteContext<Actor | null>,
  userId: string,
  code: string | undefined,
): Promise<boolean> {
  // A code is not looked at where none is needed: apps that always send one may sign in.
  if (!(await hasSecondFactor(ctx.tx.sql, userId))) return false
  if (code === undefined) {
    // Most are clients that ask their user for a code now; some have only the password.
    ctx.auditRefusal({
      action: 'auth.mfa_code_missing',
      outcome: 'denied',
      target: { type: 'user', id: userId },
    })
    throw codeRequired()
  }
  await useFactor(ctx, userId, code)
  return true
}

/** The refusal of a right password without the code that has to come with it. */
const codeRequired = () =>
  new Failure('mfa_code_required', 'Send `mfa_code` as well: of the authenticator, or for recovery')

/**
 * Signs in again by a session that an earlier request with the same idempotency key has opened.
 * @throws Failure `session_revoked`
 */
export async function signInAgain(
  { kernel, tx, clock }: WriteContext<Actor | null>,
  sessionId: string,
): Promise<SignedIn> {
  const [session] = (await tx.sql`
    select user_id, expires_at, mfa_at is not null as mfa, device_id from sessions
    where id = ${sessionId} and revoked_at is null and expires_at > ${clock.date()}
    for update`) as SessionRow[]
  if (session === undefined) throw new Failure('session_revoked')
  const { user_id: userId, device_id: deviceId, mfa } = session
  const endsMs = session.expires_at.getTime()
  const refresh = newSecret()
  await insertRefreshToken(kernel, tx.sql, sessionId, endsMs, refresh)
  const account = await getAccount(tx.sql, userId)
  const answer = await answerWithTokens(kernel, account, { id: sessionId, endsMs, mfa }, refresh)
  if (deviceId === null) return answer
  return { ...answer, device_token: await renewDeviceToken(tx.sql, deviceId) }
}

interface SessionRow {
  readonly user_id: string
  readonly expires_at: Date
  readonly mfa: boolean
  readonly device_id: string | null
}
