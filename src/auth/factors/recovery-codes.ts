import type { SQL } from 'bun'
import type { Clock } from '../../base/clock.ts'
import { randomBytes } from '../../base/ids.ts'

/**
 * Recovery codes: what signs in when the authenticator is lost, each once. They have 80 random
 * bits, so that a plain hash of one cannot be searched; it is bound to its user, so that all
 * users' codes cannot be searched for at once either.
 */

/** How many one gets. */
const RECOVERY_CODES = 10

/** Crockford's base 32: no letter that is taken for a digit. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const CHARACTERS = 16
const GROUP = 4
const CODE = new RegExp(`^[${ALPHABET}]{${CHARACTERS}}$`)

function newCode(): string {
  // 32 divides 256: the remainder is fair.
  const characters = [...randomBytes(CHARACTERS)].map((byte) => ALPHABET[byte % 32])
  const groups = Array.from({ length: CHARACTERS / GROUP }, (_, i) =>
    characters.slice(i * GROUP, (i + 1) * GROUP).join(''),
  )
  return groups.join('-')
}

/** A code as it was typed, in its one form; undefined for what is none. */
function tidied(typed: string): string | undefined {
  const text = typed
    .toUpperCase()
    .replaceAll(/[\s-]/g, '')
    .replaceAll('O', '0')
    .replaceAll(/[IL]/g, '1')
  return CODE.test(text) ? text : undefined
}

function hashOf(userId: string, code: string): Uint8Array {
  return Bun.CryptoHasher.hash('sha256', `${userId.toLowerCase()}\n${code}`)
}

/**
 * Gives a user new codes instead of all that they had.
 * @returns the codes, which nothing but a hash is kept of
 */
export async function replaceRecoveryCodes(sql: SQL, userId: string): Promise<string[]> {
  const codes = Array.from({ length: RECOVERY_CODES }, newCode)
  const hashes = codes.map((code) => hashOf(userId, code.replaceAll('-', '')))
  const rows = hashes.map((hash) => `"\\\\x${Buffer.from(hash).toString('hex')}"`)
  await sql`delete from recovery_codes where user_id = ${userId}`
  await sql`
    insert into recovery_codes (user_id, hash)
    select ${userId}::uuid, hash from unnest(${`{${rows.join(',')}}`}::text::bytea[]) as hash`
  return codes
}

/** Uses a code up; false when it is none of theirs, or was used. Of several at once one counts. */
export async function takeRecoveryCode(
  sql: SQL,
  clock: Clock,
  userId: string,
  typed: string,
): Promise<boolean> {
  const code = tidied(typed)
  if (code === undefined) return false
  const rows = await sql`
    update recovery_codes set used_at = ${clock.date()}
    where user_id = ${userId} and hash = ${hashOf(userId, code)} and used_at is null
    returning user_id`
  return rows.length === 1
}

/** How many codes a user has left. */
export async function recoveryCodesLeft(sql: SQL, userId: string): Promise<number> {
  const [row] = await sql`
    select count(*)::int as left from recovery_codes where user_id = ${userId} and used_at is null`
  return row.left as number
}
