import { SignJWT } from 'jose'
import type { Clock } from '../../base/clock.ts'
import { Failure } from '../../base/errors.ts'
import { isUuid } from '../../base/ids.ts'
import { type Actor, type Role, ROLES } from '../../kernel/access.ts'
import { recentMap } from './recent-map.ts'

/**
 * Access tokens: JSON Web Tokens (RFC 7519) signed with HS256, of the type that RFC 9068 names, so
 * that no other kind of token is ever taken for one. This file is the only one that makes or
 * believes them. A library signs; the check is our own, because it runs for every request and
 * every socket, synchronously: a keyed hash costs a microsecond, the library's check twenty.
 */

const ISSUER = 'rialto'
const AUDIENCE = 'rialto'
const TYPE = 'at+jwt'
/** Authentication method reference of several factors (RFC 8176). */
const MFA = 'mfa'

/** Clocks of two instances may differ by this much before one refuses the other's new token. */
const CLOCK_SKEW_MS = 60_000
/** Longer than any token made here; bounds what a stranger can make us hash. */
const TOKEN_LENGTH_MAX = 2_048
/** 32 bytes of HMAC-SHA256 in base64url without padding. */
const SIGNATURE_LENGTH = 43
/** Actors of verified tokens kept, twice this at most: some 20 MB. */
const VERIFIED_MAX = 32_768

/** Whom a token is for. */
export interface TokenSubject {
  readonly userId: string
  readonly sessionId: string
  readonly roles: readonly Role[]
  /** The end of the session, in milliseconds since the epoch, which no token outlives. */
  readonly sessionEndsMs: number
  /** The session has shown a second factor. */
  readonly mfa?: boolean
}

/** A token as it was made. */
export interface AccessToken {
  readonly token: string
  readonly expiresAtMs: number
}

/** Makes and believes access tokens. */
export interface AccessTokens {
  sign(subject: TokenSubject): Promise<AccessToken>
  /**
   * Who the token speaks for. Knows nothing of revocation: ask `Authenticator` instead.
   * @throws Failure `unauthenticated` | `token_expired`
   */
  verify(token: string): Actor
}

export interface AccessTokenOptions {
  /** At least one; the first signs, all verify, each under its own `kid`. */
  readonly secrets: readonly string[]
  readonly accessTtlMs: number
  readonly clock: Clock
}

interface Key {
  readonly kid: string
  readonly secret: Uint8Array
  /** The first part of every token of this key, exactly. */
  readonly header: string
  readonly mac: (text: string) => string
}

/** Makes the issuer and verifier of one set of secrets. */
export function createAccessTokens(options: AccessTokenOptions): AccessTokens {
  const { clock, accessTtlMs } = options
  const keys = options.secrets.map(keyOf)
  const [signer] = keys
  if (signer === undefined) throw new Error('no secret to sign access tokens with')
  const byHeader = new Map(keys.map((key) => [key.header, key]))
  // Keyed by the keyed hash that each use computes anyway, so that no token stays in memory and
  // a hit is as good as a check. What it saves is reading the claims.
  const verified = recentMap<string, Actor>(VERIFIED_MAX)

  return {
    sign: (subject) => sign(signer, subject, clock.now(), accessTtlMs),
    verify(token) {
      const signature = authenticSignature(byHeader, token)
      let actor = verified.get(signature)
      if (actor === undefined) {
        actor = actorOf(token, clock.now(), accessTtlMs)
        verified.set(signature, actor)
      }
      if (clock.now() >= actor.expiresAtMs) throw new Failure('token_expired')
      return actor
    },
  }
}

const refused = () => new Failure('unauthenticated', 'Not a valid access token')

function keyOf(secret: string): Key {
  const bytes = new TextEncoder().encode(secret)
  // The id tells keys apart and nothing about them.
  const kid = new Bun.CryptoHasher('sha256', bytes).update('rialto kid').digest('base64url')
  const keyed = new Bun.CryptoHasher('sha256', bytes)
  const header = { alg: 'HS256', typ: TYPE, kid: kid.slice(0, 11) }
  return {
    kid: header.kid,
    secret: bytes,
    header: Buffer.from(JSON.stringify(header)).toString('base64url'),
    // A copy of a hasher that has taken in its key already costs half of a new one.
    mac: (text) => keyed.copy().update(text).digest('base64url'),
  }
}

async function sign(
  key: Key,
  { userId, sessionId, roles, sessionEndsMs, mfa = false }: TokenSubject,
  nowMs: number,
  accessTtlMs: number,
): Promise<AccessToken> {
  const issued = Math.floor(nowMs / 1000)
  const expires = Math.floor(Math.min(issued * 1000 + accessTtlMs, sessionEndsMs) / 1000)
  const token = await new SignJWT({
    sid: sessionId,
    roles: [...roles],
    ...(mfa ? { amr: [MFA] } : {}),
  })
    .setProtectedHeader({ alg: 'HS256', typ: TYPE, kid: key.kid })
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setSubject(userId)
    .setIssuedAt(issued)
    .setExpirationTime(expires)
    .sign(key.secret)
  return { token, expiresAtMs: expires * 1000 }
}

/**
 * The token's signature, once it is known to be right. The header is compared as a whole: one
 * algorithm, one type and the ids of our own keys are the only ones there are, so that nothing in
 * a stranger's header is ever interpreted.
 */
function authenticSignature(keys: ReadonlyMap<string, Key>, token: string): string {
  if (token.length > TOKEN_LENGTH_MAX) throw refused()
  const headerEnd = token.indexOf('.')
  const payloadEnd = token.length - SIGNATURE_LENGTH - 1
  if (headerEnd < 0 || token.indexOf('.', headerEnd + 1) !== payloadEnd) throw refused()
  const key = keys.get(token.slice(0, headerEnd))
  if (key === undefined) throw refused()
  const signature = key.mac(token.slice(0, payloadEnd))
  if (!endsWithSecret(token, signature)) throw refused()
  return signature
}

/** Whether `text` ends with `secret`, in a time that says nothing about where they differ. */
function endsWithSecret(text: string, secret: string): boolean {
  const start = text.length - secret.length
  let difference = 0
  for (let i = 0; i < secret.length; i++) {
    difference |= text.charCodeAt(start + i) ^ secret.charCodeAt(i)
  }
  return difference === 0
}

const isSeconds = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0

/** Reads the claims of a token whose signature is right; even then only as we would write them. */
function actorOf(token: string, nowMs: number, accessTtlMs: number): Actor {
  const claims = claimsOf(token)
  const { iss, aud, sub, sid, roles, amr, iat, exp, nbf } = claims
  if (iss !== ISSUER || aud !== AUDIENCE || !isUuid(sub) || !isUuid(sid)) throw refused()
  if (!isSeconds(iat) || !isSeconds(exp) || exp <= iat) throw refused()
  if (iat * 1000 > nowMs + CLOCK_SKEW_MS) throw refused()
  if (nbf !== undefined && (!isSeconds(nbf) || nbf * 1000 > nowMs)) throw refused()
  if (!Array.isArray(roles) || !roles.every((role) => ROLES.includes(role))) throw refused()
  if (amr !== undefined && !(Array.isArray(amr) && amr.length === 1 && amr[0] === MFA)) {
    throw refused()
  }
  return {
    kind: 'user',
    userId: sub,
    sessionId: sid,
    roles,
    mfa: amr !== undefined,
    // A life that was configured longer ends with the shorter one of now: revocations are
    // forgotten after the life of a token, so none may live longer.
    expiresAtMs: Math.min(exp * 1000, iat * 1000 + accessTtlMs),
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function claimsOf(token: string): Record<string, unknown> {
  try {
    const payload = token.slice(token.indexOf('.') + 1, -SIGNATURE_LENGTH - 1)
    const bytes = Uint8Array.fromBase64(payload, {
      alphabet: 'base64url',
      lastChunkHandling: 'loose',
    })
    const claims: unknown = JSON.parse(utf8.decode(bytes))
    if (typeof claims === 'object' && claims !== null) return claims as Record<string, unknown>
  } catch {
    // Signed by us, and yet not a token: another use of the same secret.
  }
  throw refused()
}
