import { Failure } from '../base/errors.ts'
import type { Actor, ApiKeyActor } from '../kernel/access.ts'
import type { RestCall } from './call.ts'
import type { Edge } from './edge.ts'

const SCHEME = /^bearer +(?=\S)/i

/**
 * The token of `Authorization: Bearer` (RFC 6750), undefined when no such header was sent.
 *
 * @throws Failure `unauthenticated` for another scheme
 */
export function bearerToken(headers: Headers): string | undefined {
  const header = headers.get('authorization')
  if (header === null) return undefined
  // As nearly everybody writes it; the verifier judges the token itself.
  if (header.startsWith('Bearer ') && header[7] !== ' ') return header.slice(7)
  const token = header.replace(SCHEME, '')
  if (token === header) {
    throw new Failure('unauthenticated', 'The header must be `Authorization: Bearer <token>`')
  }
  return token
}

/** What admission needs to know of a route. */
export interface Admission {
  /** Open to anyone: a token that is no good is as none, so that signing in again works. */
  readonly open: boolean
  /** Worth guessing at (a password, a code): counted for everybody, signed in or not. */
  readonly guessable: boolean
}

/**
 * Finds out who asks, and counts the request against its address when nobody is known. Refused
 * tokens count too. Only an API key may be answered later, since a token is judged from memory.
 *
 * @throws Failure `unauthenticated` and the like, `rate_limited`, `bad_request` for both at once
 */
export function admit(
  edge: Edge,
  call: RestCall,
  admission: Admission,
): Actor | null | Promise<ApiKeyActor | null> {
  const { headers } = call.request
  const key = headers.get('x-api-key')
  if (key !== null) return admitService(edge, call, admission, key)
  let actor: Actor | null = null
  let refusal: Error | undefined
  try {
    const token = bearerToken(headers)
    if (token !== undefined) actor = edge.authenticate(token)
  } catch (error) {
    refusal = asError(error)
  }
  return admitted(edge, call, admission, actor, refusal)
}

async function admitService(
  edge: Edge,
  call: RestCall,
  admission: Admission,
  key: string,
): Promise<ApiKeyActor | null> {
  if (call.request.headers.has('authorization')) {
    throw new Failure('bad_request', 'Send either `Authorization` or `X-API-Key`, not both')
  }
  let actor: ApiKeyActor | null = null
  let refusal: Error | undefined
  try {
    actor = await edge.authenticateKey(key, call)
  } catch (error) {
    refusal = asError(error)
    // A database that is away is not the caller's doing.
    if (refusal instanceof Failure && refusal.code === 'unavailable') throw refusal
  }
  return admitted(edge, call, admission, actor, refusal)
}

const asError = (error: unknown) => (error instanceof Error ? error : new Error(String(error)))

function admitted<A>(
  edge: Edge,
  call: RestCall,
  { open, guessable }: Admission,
  actor: A | null,
  refusal: Error | undefined,
): A | null {
  if (actor === null || guessable) countAddress(edge, call)
  // An unexpected error is not the token's fault and must be seen, on open routes as well.
  if (refusal !== undefined && !(open && refusal instanceof Failure)) throw refusal
  // Here and not only in the executor: a stranger's body is not worth reading.
  if (actor === null && !open) throw new Failure('unauthenticated', 'Sign in first')
  return actor
}

function countAddress(edge: Edge, call: RestCall): void {
  if (!edge.kernel.config.rateLimits.enabled) return
  call.quota = edge.quota.take(call.address)
  if (call.quota.allowed) return
  throw new Failure('rate_limited', 'Too many requests of this address without signing in', {
    retryAfterMs: Math.ceil(call.quota.resetMs),
  })
}
