import { createHash, createHmac } from 'node:crypto'
import type { AuditKey } from './keys.ts'

/**
 * The arithmetic of the chain, apart from storage. Each line's hash covers its position, the hash
 * before it and everything that is kept of it; what may be erased is covered by a salted hash of
 * its own, so that erasing it breaks nothing.
 */

/** Everything a hash covers, as the database gives it back: JSON as text, times in ms. */
export interface SealedLine {
  readonly position: string
  /** When it was sealed and when it happened, in milliseconds since the epoch. */
  readonly sealed_at: string
  readonly key_id: string
  readonly id: string
  readonly at: string
  readonly actor_kind: string
  readonly actor_id: string | null
  readonly session_id: string | null
  readonly action: string
  readonly outcome: string
  readonly target_type: string | null
  readonly target_id: string | null
  readonly transport: string
  readonly request_id: string
  readonly before: string | null
  readonly after: string | null
  readonly subject_id: string | null
  /** Hexadecimal. */
  readonly origin_digest: string | null
  readonly personal_digest: string | null
}

/** The hash before the first line. */
export const GENESIS = Buffer.alloc(32)

/** Version of the encoding below; another one needs another number. */
const VERSION = 1

/**
 * What is hashed: a JSON list of texts and nulls in this order. JSON keeps the fields apart, so
 * that no two lines have the same encoding, and no number is involved whose spelling could differ.
 */
export function encode(previous: Uint8Array, line: SealedLine): string {
  return JSON.stringify([
    VERSION,
    Buffer.from(previous).toString('hex'),
    line.position,
    line.sealed_at,
    line.key_id,
    line.id,
    line.at,
    line.actor_kind,
    line.actor_id,
    line.session_id,
    line.action,
    line.outcome,
    line.target_type,
    line.target_id,
    line.transport,
    line.request_id,
    line.before,
    line.after,
    line.subject_id,
    line.origin_digest,
    line.personal_digest,
  ])
}

/** The hash of a line behind `previous`: HMAC-SHA-256 (RFC 2104). */
export function sealOf(key: AuditKey, previous: Uint8Array, line: SealedLine): Buffer {
  return createHmac('sha256', key.seal).update(encode(previous, line)).digest()
}

/** Length of a salt. */
export const SALT_BYTES = 16

/**
 * The hash that stands in the line for data which may be erased. Once the salt is gone with the
 * data, nobody can tell by trying whether it was a certain address or name.
 */
export function digestOf(salt: Uint8Array, data: string): Buffer {
  return createHash('sha256').update(salt).update(data).digest()
}
