import { randomToken } from '../base/ids.ts'

/**
 * Opaque secrets that clients hold (refresh tokens, tickets): 256 random bits, of which the
 * database knows only a hash. They have entropy enough that a plain hash cannot be searched.
 */
export interface Secret {
  readonly text: string
  readonly hash: Uint8Array
}

/** Characters of a secret: 32 bytes in base64url without padding. */
export const SECRET_LENGTH = 43

/** A new secret. */
export function newSecret(): Secret {
  return secretOf(randomToken(32))
}

/** The secret that a client presents. */
export function secretOf(text: string): Secret {
  return { text, hash: Bun.CryptoHasher.hash('sha256', text) }
}

/** What `key` makes of a secret: known to whoever has both, and to nobody who has one. */
export function derivedSecret(key: Uint8Array, purpose: string, { text }: Secret): Secret {
  const derived = new Bun.CryptoHasher('sha256', key).update(`${purpose}\n${text}`)
  return secretOf(derived.digest('base64url'))
}
