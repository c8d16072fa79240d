import { timingSafeEqual } from 'node:crypto'
import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import type { Scope } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import { idOfCursor, pageOf } from '../kernel/cursor.ts'
import { type KeyText, keyWith, newKey } from './format.ts'
import type { ApiKey } from './shapes.ts'

/** The table of API keys. Of a secret only the hash is there. */

export interface KeyRow {
  readonly id: string
  readonly name: string
  readonly prefix: string
  readonly hash: Uint8Array
  readonly previous_hash: Uint8Array | null
  readonly previous_until: Date | null
  readonly scopes: Scope[]
  readonly created_by: string
  readonly created_at: Date
  readonly rotated_at: Date | null
  readonly expires_at: Date | null
  readonly last_used_at: Date | null
  readonly last_used_address: string | null
  readonly revoked_at: Date | null
}

/** What a key may be made with. */
export interface NewApiKey {
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly expiresAt: Date | undefined
}

/** Keys that can be used at the same time: far more than there are services. */
const ACTIVE_MAX = 500

/**
 * Makes a key.
 * @returns it, with the secret that nobody will see again
 * @throws Failure `conflict` when there are too many
 */
export async function createKey(
  { tx, clock, actor }: WriteContext,
  { name, scopes, expiresAt }: NewApiKey,
): Promise<{ row: KeyRow; key: KeyText }> {
  const { sql } = tx
  const [{ active }] = await sql`
    select count(*)::int as active from api_keys
    where revoked_at is null and (expires_at is null or expires_at > ${clock.date()})`
  if (active >= ACTIVE_MAX) {
    throw new Failure('conflict', `There are ${ACTIVE_MAX} keys: revoke those that nobody uses`)
  }
  const key = newKey()
  const [row] = (await sql`
    insert into api_keys (id, name, prefix, hash, scopes, created_by, created_at, expires_at)
    values (${uuidv7(clock.now())}, ${name}, ${key.prefix}, ${key.hash},
      ${`{${scopes.join(',')}}`}::text::text[], ${actor.userId}, ${clock.date()},
      ${expiresAt ?? null})
    returning *`) as KeyRow[]
  return { row: row as KeyRow, key }
}

/**
 * Gives a key a new secret; the old one works for `overlapMs` longer.
 * @throws Failure `not_found` | `conflict` when it has ended, or when the secret before the old one
 *   still works and some overlap is wanted again
 */
export async function rotateKey(
  { tx, clock }: WriteContext,
  id: string,
  overlapMs: number,
): Promise<{ row: KeyRow; key: KeyText }> {
  const { sql } = tx
  const [held] = (await sql`select * from api_keys where id = ${id} for update`) as KeyRow[]
  if (held === undefined) throw noSuchKey()
  const state = stateOf(held, clock.now())
  if (state !== 'active') throw new Failure('conflict', `This key is ${state}: create another`)
  const { previous_until: until } = held
  if (overlapMs > 0 && until !== null && until.getTime() > clock.now()) {
    throw new Failure(
      'conflict',
      `The secret before this one works until ${until.toISOString()}: rotate then, or at once ` +
        'with overlap_seconds 0, which ends both',
    )
  }
  const key = keyWith(held.prefix)
  const previous = overlapMs > 0 ? held.hash : null
  const previousUntil = overlapMs > 0 ? new Date(clock.now() + overlapMs) : null
  const [row] = (await sql`
    update api_keys set hash = ${key.hash}, previous_hash = ${previous},
      previous_until = ${previousUntil}, rotated_at = ${clock.date()}
    where id = ${id} returning *`) as KeyRow[]
  return { row: row as KeyRow, key }
}

/**
 * Ends a key, once and for all.
 * @returns whether this call did
 * @throws Failure `not_found`
 */
export async function revokeKey(
  { tx, clock }: WriteContext,
  id: string,
): Promise<{ row: KeyRow; revoked: boolean }> {
  const [row] = (await tx.sql`
    update api_keys set revoked_at = ${clock.date()}
    where id = ${id} and revoked_at is null returning *`) as KeyRow[]
  if (row !== undefined) return { row, revoked: true }
  return { row: await findKey(tx.sql, id), revoked: false }
}

/** @throws Failure `not_found` */
export async function findKey(sql: SQL, id: string): Promise<KeyRow> {
  const [row] = (await sql`select * from api_keys where id = ${id}`) as KeyRow[]
  if (row === undefined) throw noSuchKey()
  return row
}

const noSuchKey = () => new Failure('not_found', 'No such API key')

/** Keys, the newest first, also those that have ended. */
export async function listKeys(
  sql: SQL,
  limit: number,
  cursor: string | undefined,
): Promise<{ items: KeyRow[]; next_cursor: string | null }> {
  const before = idOfCursor(cursor) ?? null
  const rows = (await sql`
    select * from api_keys where ${before}::uuid is null or id < ${before}::uuid
    order by id desc limit ${limit + 1}`) as KeyRow[]
  return pageOf(rows, limit, ({ id }) => id)
}

/** Which of these keys work at `nowMs`, by id: for what acts in the name of a key. */
export async function standingKeys(
  sql: SQL,
  ids: readonly string[],
  nowMs: number,
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set()
  const rows = (await sql`
    select id from api_keys
    where id = any(${`{${ids.join(',')}}`}::text::uuid[]) and revoked_at is null
      and (expires_at is null or expires_at > ${new Date(nowMs)})`) as { id: string }[]
  return new Set(rows.map(({ id }) => id))
}

/** Whether a key works at `nowMs`. */
export function stateOf({ revoked_at, expires_at }: KeyRow, nowMs: number): ApiKey['state'] {
  if (revoked_at !== null) return 'revoked'
  return expires_at !== null && expires_at.getTime() <= nowMs ? 'expired' : 'active'
}

/**
 * When the secret that was presented ends to work, in milliseconds since the epoch; undefined when
 * it is none of this key's.
 */
export function secretEndsMs(row: KeyRow, { hash }: KeyText): number | undefined {
  const keyEndsMs = row.expires_at?.getTime() ?? Infinity
  if (timingSafeEqual(row.hash, hash)) return keyEndsMs
  const { previous_hash: previous, previous_until: until } = row
  if (previous === null || until === null || !timingSafeEqual(previous, hash)) return undefined
  return Math.min(keyEndsMs, until.getTime())
}

/** A key as administrators see it. */
export function describeKey(row: KeyRow, nowMs: number): ApiKey {
  const iso = (date: Date | null) => date?.toISOString() ?? null
  const overlaps = row.previous_until !== null && row.previous_until.getTime() > nowMs
  return {
    id: row.id,
    name: row.name,
    prefix: row.prefix,
    scopes: row.scopes,
    state: stateOf(row, nowMs),
    created_by: row.created_by,
    created_at: row.created_at.toISOString(),
    rotated_at: iso(row.rotated_at),
    previous_until: overlaps ? iso(row.previous_until) : null,
    expires_at: iso(row.expires_at),
    last_used_at: iso(row.last_used_at),
    last_used_address: row.last_used_address,
    revoked_at: iso(row.revoked_at),
  }
}
