import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { canonical } from '../../base/canonical.ts'
import { Failure } from '../../base/errors.ts'
import type { Actor } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { type Kernel, service } from '../../kernel/kernel.ts'
import type { Operation } from '../../kernel/operation.ts'
import type { StepUp } from '../../kernel/step-up.ts'
import { newSecret, secretOf } from '../secrets.ts'
import { hasSecondFactor, useFactor } from './mfa.ts'

/**
 * Step-up: a fresh second factor for one exact call. The refused call gets a challenge, which
 * names user, session, operation and input and is signed, so that nothing need be stored for it;
 * with a code it is traded for a token, which is good for that very call, once.
 *
 * The token is used up in the transaction of the call: of several at once one goes on, and one
 * that fails gives it back.
 */

/** From the refusal to the code: time to find the phone. */
const CHALLENGE_TTL_MS = 5 * 60_000
/** From the code to the call, which clients repeat by themselves. */
const STEP_UP_TTL_MS = 5 * 60_000

/** The check of fresh second factors. */
export function createStepUp(): StepUp {
  return {
    async require(ctx, operation, input, token) {
      const { kernel, tx, actor } = ctx
      const prints = kernel.use(Keys).map((key) => fingerprint(key, operation.name, input))
      if (token !== undefined && (await useToken(ctx, operation, prints, token))) return
      if (!(await hasSecondFactor(tx.sql, actor.userId))) {
        throw new Failure('mfa_required', 'This needs a second factor: set one up first')
      }
      if (token !== undefined) {
        ctx.auditRefusal({
          action: 'auth.step_up_refused',
          outcome: 'denied',
          target: { type: 'operation', id: operation.name },
        })
      }
      const detail =
        token === undefined
          ? 'This needs a fresh code of the second factor'
          : 'This token is used, expired, or was given for another call'
      const challenge = makeChallenge(kernel, actor, operation.name, prints[0] as Buffer)
      throw new Failure('step_up_required', detail, { challenge })
    },
  }
}

/** Keys of this purpose alone, one of each master key; the first signs, all are believed. */
const Keys = service<readonly Buffer[]>('step-up keys', ({ config }) =>
  config.masterKeys.map((master) =>
    Buffer.from(hkdfSync('sha256', master, '', 'rialto step-up', 32)),
  ),
)

/** Keyed, because inputs may hold guessable secrets. */
function fingerprint(key: Buffer, operation: string, input: unknown): Buffer {
  return createHmac('sha256', key)
    .update(`input\n${operation}\n${canonical(input)}`)
    .digest()
}

interface TokenRow {
  readonly operation: string
  readonly fingerprint: Uint8Array
  readonly expires_at: Date
}

/** Deletes the token; of a wrong one the caller's transaction fails, which brings it back. */
async function useToken(
  { tx, clock, actor }: WriteContext,
  operation: Operation,
  prints: readonly Buffer[],
  token: string,
): Promise<boolean> {
  const [row] = (await tx.sql`
    delete from step_ups
    where hash = ${secretOf(token).hash} and session_id = ${actor.sessionId}
    returning operation, fingerprint, expires_at`) as TokenRow[]
  if (row === undefined || row.operation !== operation.name) return false
  if (clock.now() >= row.expires_at.getTime()) return false
  return prints.some((print) => print.equals(row.fingerprint))
}

/** What a challenge says. */
export interface Challenge {
  readonly operation: string
  readonly fingerprint: Uint8Array
}

const base64url = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64url')
const seal = (key: Buffer, body: string) =>
  createHmac('sha256', key).update(`challenge\n${body}`).digest()

function makeChallenge(
  kernel: Kernel,
  { userId, sessionId }: Actor,
  operation: string,
  print: Buffer,
): string {
  const [key] = kernel.use(Keys)
  const endsMs = kernel.clock.now() + CHALLENGE_TTL_MS
  const claims = [userId, sessionId, operation, base64url(print), endsMs]
  const body = base64url(Buffer.from(JSON.stringify(claims)))
  return `${body}.${base64url(seal(key as Buffer, body))}`
}

/**
 * Reads a challenge of the actor's.
 * @throws Failure `validation_failed` when it is none, another session's, or expired
 */
export function readChallenge(kernel: Kernel, actor: Actor, text: string): Challenge {
  const [body = '', mac = ''] = text.split('.', 2)
  const given = Buffer.from(mac, 'base64url')
  const genuine = kernel.use(Keys).some((key) => {
    const ours = seal(key, body)
    return ours.length === given.length && timingSafeEqual(ours, given)
  })
  // One refusal for what is none and what is somebody else's.
  if (!genuine) throw notAChallenge(FOREIGN)
  // Our own words, since the signature is right.
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Claims
  const [userId, sessionId, operation, print, endsMs] = claims
  if (userId !== actor.userId || sessionId !== actor.sessionId) {
    throw notAChallenge(FOREIGN)
  }
  if (kernel.clock.now() >= endsMs) throw notAChallenge('has expired: make the call again')
  return { operation, fingerprint: Buffer.from(print, 'base64url') }
}

type Claims = [userId: string, sessionId: string, operation: string, print: string, endsMs: number]

const FOREIGN = 'is no challenge of this session'

function notAChallenge(message: string): Failure {
  return new Failure('validation_failed', `challenge: ${message}`, {
    errors: [{ path: '/challenge', message }],
  })
}

/** What a code has earned. */
export interface StepUpToken {
  readonly token: string
  readonly expiresAt: Date
}

/**
 * Trades a challenge and a code for the token of that call.
 * @throws Failure `invalid_code` | `mfa_required`
 */
export async function earnStepUp(
  ctx: WriteContext,
  challenge: Challenge,
  code: string,
): Promise<StepUpToken> {
  const { tx, clock, actor } = ctx
  await useFactor(ctx, actor.userId, code)
  const { text: token, hash } = newSecret()
  const expiresAt = new Date(clock.now() + STEP_UP_TTL_MS)
  await tx.sql`
    insert into step_ups (hash, session_id, operation, fingerprint, expires_at)
    values (${hash}, ${actor.sessionId}, ${challenge.operation}, ${challenge.fingerprint},
      ${expiresAt})`
  ctx.audit({
    action: 'auth.step_up_earned',
    target: { type: 'operation', id: challenge.operation },
  })
  return { token, expiresAt }
}
