import type { SQL } from 'bun'
import { constraintOf } from '../../../db/transaction.ts'
import type { Clock } from '../../base/clock.ts'
import { Failure } from '../../base/errors.ts'
import { randomInt, randomToken, uuidv7 } from '../../base/ids.ts'
import type { Account, NewAccount, Profile, ProfileChange } from '../shapes.ts'
import { isReserved } from './addresses.ts'

/** The table of users. Plain SQL, because `auth/me` is asked by every client that opens. */

interface AccountRow extends Omit<Account, 'wallet_verified' | 'email_verified' | 'created_at'> {
  readonly email_verified_at: Date | null
  readonly wallet_verified_at: Date | null
  readonly created_at: Date
}

/**
 * A user's own account.
 * @throws Failure `not_found` when it is closed or was never there
 */
export async function getAccount(sql: SQL, userId: string): Promise<Account> {
  const [row] = (await sql`
    select id, email, username, name, avatar, roles, actor_type, locale, time_zone,
      wallet_address, wallet_verified_at, created_at, email_verified_at
    from users where id = ${userId} and closed_at is null`) as AccountRow[]
  if (row === undefined) throw noSuchUser()
  const { wallet_verified_at, email_verified_at, created_at, ...fields } = row
  return {
    ...fields,
    wallet_verified: wallet_verified_at !== null,
    email_verified: email_verified_at !== null,
    created_at: created_at.toISOString(),
  }
}

/** The refusal for ids of nobody, and of accounts that are closed. */
export const noSuchUser = () => new Failure('not_found', 'No such user')

/** What signing in needs to know of an account. */
export interface Credentials {
  readonly id: string
  readonly password_hash: string | null
}

/** Looks an account up by its address or its name, in any case. */
export async function findCredentials(sql: SQL, login: string): Promise<Credentials | undefined> {
  const rows = login.includes('@')
    ? await sql`
        select id, password_hash from users where lower(email) = lower(${login}::text)`
    : await sql`
        select id, password_hash from users
        where lower(username) = lower(${login}::text)`
  return (rows as Credentials[])[0]
}

/** Who has an address, and the language to write to them in. */
export async function findOwner(
  sql: SQL,
  email: string,
): Promise<{ id: string; locale: 'en' | 'fr'; time_zone: string } | undefined> {
  const [row] = await sql`
    select id, locale, time_zone from users
    where lower(email) = lower(${email}::text) and closed_at is null`
  return row
}

/** How often a derived name is tried with another number. */
const NAMES_MAX = 12

/**
 * Inserts an account; without a name it gets one after its address.
 * @returns its id
 * @throws Failure `already_exists` naming the field that is taken
 */
export async function createUser(
  sql: SQL,
  clock: Clock,
  account: NewAccount,
  passwordHash: string,
): Promise<string> {
  const id = uuidv7(clock.now())
  for (let attempt = 0; attempt < NAMES_MAX; attempt++) {
    const username = account.username ?? derivedName(account.email, attempt)
    if (await insertUser(sql, clock, { ...account, username }, id, passwordHash)) {
      if (await isReserved(sql, clock, account.email, id)) throw alreadyTaken('email')
      return id
    }
    if (await emailIsTaken(sql, account.email)) throw alreadyTaken('email')
    if (account.username !== undefined) break
  }
  throw alreadyTaken('username')
}

async function emailIsTaken(sql: SQL, email: string): Promise<boolean> {
  return (await sql`select from users where lower(email) = lower(${email}::text)`).length > 0
}

/** False when the address or the name is taken, also by somebody who commits meanwhile. */
async function insertUser(
  sql: SQL,
  clock: Clock,
  account: NewAccount & { username: string },
  id: string,
  passwordHash: string,
): Promise<boolean> {
  const actorType = account.actor_type ?? 'user'
  const roles = account.roles ?? (actorType === 'creator' ? ['user', 'creator'] : ['user'])
  const rows = await sql`
    insert into users (id, email, username, password_hash, name, avatar, roles, actor_type,
      locale, time_zone, wallet_address, created_at, updated_at)
    values (${id}, ${account.email}, ${account.username}, ${passwordHash}, ${account.name ?? null},
      ${account.avatar ?? null}, ${`{${roles.join(',')}}`}::text::text[], ${actorType},
      ${account.locale ?? 'en'}, ${account.time_zone ?? 'UTC'}, ${account.wallet_address ?? null},
      ${clock.date()}, ${clock.date()})
    on conflict do nothing returning id`
  return rows.length === 1
}

const NAME_LENGTH_MIN = 3
/** Leaves room for a number. */
const DERIVED_LENGTH_MAX = 40

/** A name from the local part of an address; after the first attempt with a random number. */
function derivedName(email: string, attempt: number): string {
  const local = email.slice(0, email.indexOf('@')).replaceAll(/[^A-Za-z0-9._-]/g, '')
  const base = local.length < NAME_LENGTH_MIN ? `user-${local}` : local.slice(0, DERIVED_LENGTH_MAX)
  return attempt === 0 ? base : `${base}-${randomInt(10 ** Math.min(3 + attempt, 9))}`
}

/** The refusal of a name or an address that somebody has. */
export function alreadyTaken(field: 'email' | 'username'): Failure {
  return new Failure('already_exists', `This ${field} is taken`, {
    errors: [{ path: `/${field}`, message: 'is taken' }],
  })
}

/** @throws Failure `forbidden` for the account that the environment keeps */
export async function refuseIfEnvironmentAdmin(sql: SQL, userId: string): Promise<void> {
  const rows = await sql`select from users where id = ${userId} and environment_admin`
  if (rows.length === 0) return
  throw new Failure('forbidden', 'This account is kept by ADMIN_USERNAME and ADMIN_PASSWORD_HASH')
}

/**
 * Changes what is given of a profile.
 * @throws Failure `already_exists` for a name that is taken, `not_found`, `forbidden` for the name
 *   of the account that the environment keeps
 */
export async function updateProfile(
  sql: SQL,
  clock: Clock,
  userId: string,
  { username, name, avatar, locale, time_zone }: ProfileChange,
): Promise<Account> {
  if (username !== undefined) await refuseIfEnvironmentAdmin(sql, userId)
  try {
    await sql`
      update users set
        username = coalesce(${username ?? null}::text, username),
        name = case when ${name !== undefined} then ${name ?? null}::text else name end,
        avatar = case when ${avatar !== undefined} then ${avatar ?? null}::text else avatar end,
        locale = coalesce(${locale ?? null}::text, locale),
        time_zone = coalesce(${time_zone ?? null}::text, time_zone),
        updated_at = ${clock.date()}
      where id = ${userId} and closed_at is null`
  } catch (error) {
    if (constraintOf(error) === 'users_username_key') throw alreadyTaken('username')
    throw error
  }
  return await getAccount(sql, userId)
}

/**
 * Closes an account: what identified the person goes, the row stays for what refers to it. The
 * new address and name are random, because a name that could be guessed could be taken first.
 * @throws Failure `not_found`
 */
export async function closeAccount(sql: SQL, clock: Clock, userId: string): Promise<void> {
  const placeholder = `deleted-${randomToken(16)}`
  const closed = await sql`
    update users set
      email = ${`${placeholder}@deleted.invalid`}, username = ${placeholder},
      password_hash = null, name = null, avatar = null, roles = '{}', locale = 'en',
      time_zone = 'UTC', wallet_address = null, wallet_verified_at = null,
      email_verified_at = null, email_refused_at = null,
      closed_at = ${clock.date()}, updated_at = ${clock.date()}
    where id = ${userId} and closed_at is null returning id`
  if (closed.length === 0) throw noSuchUser()
  await sql`update sessions set user_agent = null, address = '' where user_id = ${userId}`
  await sql`delete from one_time_links where user_id = ${userId}`
  await sql`delete from previous_addresses where user_id = ${userId}`
}

/**
 * Public profiles by id; closed accounts are not among them, nor the one that the environment
 * keeps: its name is half of what one needs to sign in to it.
 */
export async function findProfiles(sql: SQL, ids: readonly string[]): Promise<Profile[]> {
  return await sql`
    select id, username, name, avatar, actor_type from users
    where id = any(${`{${ids.join(',')}}`}::text::uuid[]) and closed_at is null
      and not environment_admin`
}

/** Sorts after every character that a name may have. */
const AFTER_NAMES = '\u007f'

/** Public profiles in order of their names, those that begin with `prefix`, after `cursor`. */
export async function listProfiles(
  sql: SQL,
  options: { prefix: string; cursor: string | undefined; limit: number },
): Promise<{ items: Profile[]; next_cursor: string | null }> {
  const { prefix, cursor = '', limit } = options
  const first = prefix.toLowerCase()
  const rows = (await sql`
    select id, username, name, avatar, actor_type from users
    where closed_at is null and not environment_admin and lower(username) >= ${first}::text
      and lower(username) < ${first + AFTER_NAMES}::text
      and lower(username) > ${cursor.toLowerCase()}::text
    order by lower(username) limit ${limit + 1}`) as Profile[]
  const items = rows.slice(0, limit)
  const next = rows.length > limit ? items.at(-1)?.username.toLowerCase() : undefined
  return { items, next_cursor: next ?? null }
}
