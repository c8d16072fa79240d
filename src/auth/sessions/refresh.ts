import type { Tx } from '../../../db/transaction.ts'
import { Failure } from '../../base/errors.ts'
import type { RequestInfo } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { unitOfWork } from '../../kernel/write.ts'
import { getAccount } from '../accounts/users.ts'
import { derivedSecret, type Secret, secretOf } from '../secrets.ts'
import type { SignedIn } from '../shapes.ts'
import {
  accountBlocked,
  announceRevoked,
  answerWithTokens,
  insertRefreshToken,
  revokeSessions,
} from './sessions.ts'

/**
 * Rotation of refresh tokens (RFC 9700, 4.14.2): each is good for one use, and one that is used
 * twice says that two hold it, of whom one is a thief, so that the whole session ends. The
 * exception is a client whose answer was lost: for a short while the same token gets the same
 * successor again, which is therefore derived from it instead of being random or stored.
 */

/** How long a lost answer can be asked for again. */
export const RETRY_WINDOW_MS = 10_000

/** What is known when a token is presented, in milliseconds since the epoch. */
export interface Presented {
  readonly expiresAtMs: number
  readonly usedAtMs: number | undefined
  readonly successorUsed: boolean
  readonly sessionEndsMs: number
  readonly sessionRevoked: boolean
}

/**
 * What becomes of a presented token: a new successor, the same one again, or a refusal.
 * `reused` ends the session.
 */
export function judge(
  token: Presented,
  nowMs: number,
): 'rotate' | 'repeat' | 'reused' | 'expired' | 'revoked' {
  if (token.sessionRevoked) return 'revoked'
  if (nowMs >= Math.min(token.expiresAtMs, token.sessionEndsMs)) return 'expired'
  if (token.usedAtMs === undefined) return 'rotate'
  if (!token.successorUsed && nowMs - token.usedAtMs <= RETRY_WINDOW_MS) return 'repeat'
  return 'reused'
}

/**
 * Trades a refresh token for the next one and a fresh access token.
 * @throws Failure `unauthenticated` | `token_expired` | `session_revoked` | `refresh_reused` |
 *   `forbidden` (the account is blocked)
 */
export async function refresh(
  kernel: Kernel,
  text: string,
  request: RequestInfo,
): Promise<SignedIn> {
  const outcome = await unitOfWork(kernel, { actor: null, request }, (ctx) =>
    rotate(ctx, secretOf(text)),
  )
  // Refusals come after the commit: the revocation that goes with one must not be rolled back.
  if (!('refused' in outcome)) return outcome
  announceRevoked(kernel, outcome.revoked)
  throw outcome.refused
}

interface Refusal {
  readonly refused: Failure
  readonly revoked: readonly string[]
}
const refusal = (refused: Failure, revoked: readonly string[] = []): Refusal => ({
  refused,
  revoked,
})

interface SessionRow {
  readonly id: string
  readonly user_id: string
  readonly expires_at: Date
  readonly revoked_at: Date | null
  readonly mfa: boolean
  readonly blocked_at: Date | null
}
interface TokenRow {
  readonly hash: Uint8Array
  readonly expires_at: Date
  readonly used_at: Date | null
}

async function rotate(ctx: WriteContext<null>, token: Secret): Promise<SignedIn | Refusal> {
  const { kernel, clock } = ctx
  const { sql } = ctx.tx
  // The lock comes first and the tokens are read after it, by a statement of their own: one that
  // waits for the lock would still see the tokens as they were before.
  const [session] = (await sql`
    select s.id, s.user_id, s.expires_at, s.revoked_at, s.mfa_at is not null as mfa,
      u.blocked_at
    from sessions s join users u on u.id = s.user_id
    where s.id = (select session_id from refresh_tokens where hash = ${token.hash})
    for update of s`) as SessionRow[]
  if (session === undefined) {
    return refusal(new Failure('unauthenticated', 'Unknown refresh token'))
  }
  if (session.blocked_at !== null) return refusal(accountBlocked())
  const { own, successor } = await readTokens(kernel, sql, token)
  const verdict = judge(
    {
      expiresAtMs: own.expires_at.getTime(),
      usedAtMs: own.used_at?.getTime(),
      successorUsed: successor.usedAt !== null,
      sessionEndsMs: session.expires_at.getTime(),
      sessionRevoked: session.revoked_at !== null,
    },
    clock.now(),
  )
  switch (verdict) {
    case 'revoked':
      return refusal(new Failure('session_revoked'))
    case 'expired':
      return refusal(new Failure('token_expired', 'Refresh token expired: sign in again'))
    case 'reused': {
      const which = { userId: session.user_id, sessionId: session.id }
      const revoked = await revokeSessions(sql, clock, which, 'refresh_reused')
      // Who holds the token besides its owner nobody knows: the line is about the session.
      ctx.audit({
        action: 'auth.refresh_reused',
        outcome: 'denied',
        target: { type: 'session', id: session.id },
        subjectId: session.user_id,
        after: { user_id: session.user_id, revoked: revoked.length },
      })
      return refusal(new Failure('refresh_reused', 'Used before: the session has ended'), revoked)
    }
    case 'rotate':
      await use(kernel, sql, session, token, successor.secret)
      break
    case 'repeat':
      break
  }
  const account = await getAccount(sql, session.user_id)
  const endsMs = session.expires_at.getTime()
  const open = { id: session.id, endsMs, mfa: session.mfa }
  return await answerWithTokens(kernel, account, open, successor.secret)
}

interface Successor {
  readonly secret: Secret
  readonly usedAt: Date | null
}

/** The presented token and what follows it, whichever of the server's keys has made that. */
async function readTokens(
  { config }: Kernel,
  sql: Tx['sql'],
  token: Secret,
): Promise<{ own: TokenRow; successor: Successor }> {
  const possible = config.masterKeys.map((key) => derivedSecret(key, 'refresh token', token))
  const hashes = [token, ...possible].map(
    ({ hash }) => `"\\\\x${Buffer.from(hash).toString('hex')}"`,
  )
  const rows = (await sql`
    select hash, expires_at, used_at from refresh_tokens
    where hash = any(${`{${hashes.join(',')}}`}::text::bytea[])`) as TokenRow[]
  const rowOf = ({ hash }: Secret) => rows.find((row) => Buffer.compare(row.hash, hash) === 0)
  const own = rowOf(token)
  const secret = possible.find((one) => rowOf(one) !== undefined) ?? possible[0]
  if (own === undefined || secret === undefined) throw new Error('refresh token or key missing')
  return { own, successor: { secret, usedAt: rowOf(secret)?.used_at ?? null } }
}

async function use(
  kernel: Kernel,
  sql: Tx['sql'],
  session: SessionRow,
  token: Secret,
  successor: Secret,
): Promise<void> {
  const now = kernel.clock.date()
  await sql`update refresh_tokens set used_at = ${now} where hash = ${token.hash}`
  await sql`update sessions set last_used_at = ${now} where id = ${session.id}`
  await insertRefreshToken(kernel, sql, session.id, session.expires_at.getTime(), successor)
}
