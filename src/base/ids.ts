/**
 * Identifiers and randomness, all from the system's cryptographic generator. This file is the only
 * one that makes either.
 */

import { systemClock } from './clock.ts'

let latestMs = 0
let latestId = ''

/**
 * A UUID of version 7 (RFC 9562): sorts by creation time, unique across processes.
 *
 * Ids of one process only ever grow, within a millisecond too. The id carries `nowMs` (milliseconds
 * since the epoch) unless an id of a later time was already made, as after the clock was set back.
 */
export function uuidv7(nowMs: number = systemClock.now()): string {
  if (nowMs > latestMs) latestMs = nowMs
  let id = Bun.randomUUIDv7('hex', latestMs)
  // The runtime's counter holds 4,096 ids a millisecond and may step back after an overflow.
  while (id <= latestId) id = Bun.randomUUIDv7('hex', ++latestMs)
  latestId = id
  return id
}

const HEX = '[0-9a-fA-F]'
const UUID = new RegExp(`^${HEX}{8}-${HEX}{4}-${HEX}{4}-${HEX}{4}-${HEX}{12}$`)

/** Whether `value` has the canonical form of a UUID of any version, in either case. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && value.length === 36 && UUID.test(value)
}

/** `length` random bytes. */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length))
}

/** A secret of `bytes` random bytes as base64url without padding; 32 bytes make 43 characters. */
export function randomToken(bytes: number): string {
  return randomBytes(bytes).toBase64({ alphabet: 'base64url', omitPadding: true })
}

const word = new Uint32Array(1)

/** A fair integer in `[0, maxExclusive)`, for `maxExclusive` from 1 to 2^32. */
export function randomInt(maxExclusive: number): number {
  if (!Number.isInteger(maxExclusive) || maxExclusive < 1 || maxExclusive > 2 ** 32) {
    throw new RangeError(`randomInt needs an integer from 1 to 2^32, got ${maxExclusive}`)
  }
  // Values above the last whole multiple would make the low ones likelier: draw again.
  const fair = 2 ** 32 - (2 ** 32 % maxExclusive)
  do crypto.getRandomValues(word)
  while (word[0]! >= fair)
  return word[0]! % maxExclusive
}

/**
 * `ms` moved by a random share of at most `ratio` in either direction, so that many clients or
 * timers do not act at the same moment: `jitter(1000, 0.2)` is from 800 to 1200.
 */
export function jitter(ms: number, ratio: number): number {
  crypto.getRandomValues(word)
  return ms * (1 + ratio * ((word[0]! / 2 ** 32) * 2 - 1))
}
