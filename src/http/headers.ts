import type { Config } from '../config.ts'
import { originAllowed } from '../net/origins.ts'

/** Requests of other origins may send these; the rest of the safelisted ones go without saying. */
const REQUEST_HEADERS =
  'Authorization, Content-Type, Idempotency-Key, X-Request-Id, X-Step-Up, X-API-Key'
/** Answers show these to the scripts of other origins. */
const EXPOSED_HEADERS =
  'Idempotent-Replayed, Retry-After, RateLimit, RateLimit-Policy, X-Request-Id, ' +
  'WWW-Authenticate, Link, Content-Disposition'
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE'
const PREFLIGHT_MAX_AGE_S = 7_200
const HSTS_MAX_AGE_S = 31_536_000

/** What an answer carries. */
export type AnswerKind = 'json' | 'problem' | 'empty'

/** Header lists made once and shared: building one for each answer costs a fifth of the rate. */
export interface AnswerHeaders {
  /** A shared list for a request of `origin` (null: none was sent). Copy before changing it. */
  of(kind: AnswerKind, origin: string | null): Headers
  /** The answer to a browser that asks before its request. */
  preflight(origin: string | null): Headers
  /** The security headers alone, for pages and files with other rules of their own. */
  readonly security: Readonly<Record<string, string>>
}

/** Origins whose lists are kept; in development every port of localhost is one. */
const ORIGINS_KEPT_MAX = 64

/** Prepares the headers of every answer. */
export function createAnswerHeaders(config: Config): AnswerHeaders {
  const security = {
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
    ...(config.production ? { 'strict-transport-security': `max-age=${HSTS_MAX_AGE_S}` } : {}),
  }
  // Answers are data: nothing in them may run or be framed, even when opened as a page.
  const base = {
    ...security,
    'cache-control': 'no-store',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    vary: 'Origin',
  }
  const lists: Record<AnswerKind, Headers> = {
    json: new Headers({ ...base, 'content-type': 'application/json' }),
    problem: new Headers({ ...base, 'content-type': 'application/problem+json' }),
    empty: new Headers(base),
  }
  const byOrigin: Record<AnswerKind, Map<string, Headers>> = {
    json: new Map(),
    problem: new Map(),
    empty: new Map(),
  }

  const withOrigin = (kind: AnswerKind, origin: string): Headers => {
    const kept = byOrigin[kind].get(origin)
    if (kept !== undefined) return kept
    if (!originAllowed(config.cors, origin)) return lists[kind]
    const made = new Headers(lists[kind])
    made.set('access-control-allow-origin', origin)
    made.set('access-control-expose-headers', EXPOSED_HEADERS)
    if (byOrigin[kind].size < ORIGINS_KEPT_MAX) byOrigin[kind].set(origin, made)
    return made
  }

  return {
    security,
    of: (kind, origin) => (origin === null ? lists[kind] : withOrigin(kind, origin)),
    preflight(origin) {
      const headers = new Headers(base)
      headers.set('vary', 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers')
      if (origin === null || !originAllowed(config.cors, origin)) return headers
      headers.set('access-control-allow-origin', origin)
      headers.set('access-control-allow-methods', METHODS)
      headers.set('access-control-allow-headers', REQUEST_HEADERS)
      headers.set('access-control-max-age', String(PREFLIGHT_MAX_AGE_S))
      return headers
    },
  }
}
