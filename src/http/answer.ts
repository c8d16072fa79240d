import { Failure } from '../base/errors.ts'
import { ruleOf } from '../kernel/limits.ts'
import type { RouteLog } from './access-log.ts'
import type { RestCall } from './call.ts'
import type { Edge } from './edge.ts'
import type { AnswerKind } from './headers.ts'
import { problemOf } from './problem.ts'

/** What an answer says beside its body. */
export interface Extras {
  readonly [header: string]: string
}

/** The headers of an answer: the shared list itself where nothing is special about the request. */
function headersOf(edge: Edge, call: RestCall, kind: AnswerKind, extras?: Extras): Headers {
  const shared = edge.headers.of(kind, call.request.headers.get('origin'))
  const { quota, givenId } = call
  if (extras === undefined && givenId === null && quota === undefined) return shared
  const own = new Headers(shared)
  if (givenId !== null) own.set('x-request-id', givenId)
  if (quota !== undefined) {
    const { maxRequests, windowMs } = edge.quota
    const windowS = Math.ceil(windowMs / 1000)
    own.set('ratelimit-policy', `"address";q=${maxRequests};w=${windowS}`)
    own.set('ratelimit', `"address";r=${quota.remaining};t=${Math.ceil(quota.resetMs / 1000)}`)
  }
  for (const name in extras) own.set(name, extras[name] as string)
  return own
}

/** A JSON answer. */
export function answerJson(
  edge: Edge,
  call: RestCall,
  log: RouteLog,
  status: number,
  value: unknown,
  extras?: Extras,
): Response {
  const response = Response.json(value, { status, headers: headersOf(edge, call, 'json', extras) })
  log(call, status)
  return response
}

/** An answer of another media type. */
export function answerMedia(
  edge: Edge,
  call: RestCall,
  log: RouteLog,
  status: number,
  body: string | Uint8Array,
  extras: Extras,
): Response {
  const headers = headersOf(edge, call, 'empty', extras)
  const response = new Response(body as Bun.BodyInit, { status, headers })
  log(call, status)
  return response
}

/** An answer without a body. */
export function answerEmpty(
  edge: Edge,
  call: RestCall,
  log: RouteLog,
  status: number,
  extras?: Extras,
): Response {
  const response = new Response(null, { status, headers: headersOf(edge, call, 'empty', extras) })
  log(call, status)
  return response
}

/**
 * The answer to whatever was thrown. A `Failure` is shown; anything else is a bug of this edge,
 * logged with its request id and shown as `internal`.
 */
export function answerFailure(
  edge: Edge,
  call: RestCall,
  log: RouteLog,
  error: unknown,
  extras?: Extras,
): Response {
  const failure = error instanceof Failure ? error : unexpected(edge, call, error)
  const response = Response.json(problemOf(failure, call.id), {
    status: failure.status,
    headers: headersOf(edge, call, 'problem', {
      'x-request-id': call.id,
      ...retryHeaders(failure),
      ...(failure.status === 401 ? { 'www-authenticate': challenge(call) } : {}),
      ...extras,
    }),
  })
  log(call, failure.status)
  return response
}

function unexpected(edge: Edge, call: RestCall, error: unknown): Failure {
  edge.kernel.log.error('request failed unexpectedly', { request_id: call.id, error })
  return new Failure('internal', `Internal error; request ${call.id}`)
}

/** Seconds until a client should try again when the failure itself does not say. */
const RETRY_AFTER_S = 1

/** `Retry-After` (RFC 9110) and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10). */
function retryHeaders({ status, retryAfterMs, retryable, limit }: Failure): Extras {
  if (status !== 429 && status !== 503 && !retryable) return {}
  const seconds = Math.max(RETRY_AFTER_S, Math.ceil((retryAfterMs ?? 0) / 1000))
  const retry = { 'retry-after': String(seconds) }
  const rule = limit === undefined ? undefined : ruleOf(limit)
  if (rule === undefined) return retry
  const { burst, perSecond } = rule
  return {
    ...retry,
    'ratelimit-policy': `"${limit}";q=${burst};w=${Math.ceil(burst / perSecond)}`,
    ratelimit: `"${limit}";r=0;t=${seconds}`,
  }
}

/** RFC 6750: a request that brought a token is told that it was no good. */
function challenge(call: RestCall): string {
  const realm = 'Bearer realm="rialto"'
  return call.request.headers.has('authorization') ? `${realm}, error="invalid_token"` : realm
}
