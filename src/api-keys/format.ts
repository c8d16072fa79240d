import { randomBytes } from '../base/ids.ts'

/**
 * The form of API keys: `rialto_`, 16 digits that name the key, `_`, 64 digits of secret, 8 of
 * checksum, all hexadecimal. People can select it with two clicks; scanners of repositories and
 * logs find it by its form (`rialto_[0-9a-f]{16}_[0-9a-f]{72}`) and by the checksum without asking.
 */

/** A key, or what somebody presents as one. */
export interface KeyText {
  /** The whole key: secret. */
  readonly text: string
  /** Its beginning, by which it is found; no secret. */
  readonly prefix: string
  /** SHA-256 of the whole. */
  readonly hash: Buffer
}

const FORM = /^(rialto_[0-9a-f]{16})_[0-9a-f]{72}$/
const CHECKSUM_LENGTH = 8

/** A new key with 256 random bits of secret. */
export function newKey(): KeyText {
  return keyWith(`rialto_${randomBytes(8).toHex()}`)
}

/** A new secret for a key that keeps its name. */
export function keyWith(prefix: string): KeyText {
  const body = `${prefix}_${randomBytes(32).toHex()}`
  return { text: body + checksum(body), prefix, hash: hashOf(body + checksum(body)) }
}

/** Reads a key; undefined for what is none, without asking the database. */
export function readKey(text: string): KeyText | undefined {
  const prefix = FORM.exec(text)?.[1]
  if (prefix === undefined) return undefined
  if (checksum(text.slice(0, -CHECKSUM_LENGTH)) !== text.slice(-CHECKSUM_LENGTH)) return undefined
  return { text, prefix, hash: hashOf(text) }
}

/** CRC-32 (ISO 3309): against typing errors and for scanners, not for security. */
const checksum = (body: string) => Bun.hash.crc32(body).toString(16).padStart(CHECKSUM_LENGTH, '0')

const hashOf = (text: string) => Buffer.from(Bun.CryptoHasher.hash('sha256', text))
