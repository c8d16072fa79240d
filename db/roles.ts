import { SQL } from 'bun'
import type { Clock } from '../src/base/clock.ts'
import type { Logger } from '../src/observe/log.ts'
import { migrateSchema } from './migrate.ts'
import { grantRights } from './rights.ts'
import { createServerRole, serverPassword, serverRoleOf } from './server-role.ts'
import { isConnectionFailure, sqlState } from './transaction.ts'

/**
 * Two roles: the owner, who migrates and whose URL the operator gives, and the server's own, which
 * can read and write rows but not change tables, empty them or add triggers (`rights.ts`). What a
 * hostile statement inside the server could do is bounded by the second.
 *
 * A server's role that is there is used as it is. One that is missing is made, where the owner may;
 * where not, the start is refused, since the owner in its place would be no wall at all.
 */

export interface PreparedDatabase {
  /** The URL that the server works with. */
  readonly url: string
  /** False where the operator has chosen that the server works as the owner. */
  readonly separated: boolean
}

/** Whose URLs there are. */
export interface RoleOptions {
  readonly ownerUrl: string
  /** Names the server's role, which is there and is used as it is. Default: one made by us. */
  readonly serverUrl?: string | undefined
  /** The server works as the owner: the operator's choice, where there can be no second role. */
  readonly singleRole?: boolean | undefined
}

/** How long a database that is not there yet (containers starting together) is waited for. */
const WAIT_MS_MAX = 30_000

/**
 * Brings the database up to date and sees to the server's role and its rights, under one advisory
 * lock, so that instances may start together.
 * @throws Error with a sentence for the operator when the server would have no role of its own, or
 *   one that is more than it should be
 */
export async function prepareDatabase(
  options: RoleOptions & { clock: Clock; log: Logger },
): Promise<PreparedDatabase> {
  const { ownerUrl, clock, log } = options
  const startMs = clock.monotonicMs()
  for (;;) {
    try {
      return await migrateSchema(ownerUrl, log, (sql) => prepareRole(sql, options, log))
    } catch (error) {
      if (!isConnectionFailure(error) || clock.monotonicMs() - startMs > WAIT_MS_MAX) throw error
      log.warn('waiting for the database', { error: (error as Error).message })
      await clock.sleep(500)
    }
  }
}

async function prepareRole(
  sql: SQL,
  { ownerUrl, serverUrl, singleRole = false }: RoleOptions,
  log: Logger,
): Promise<PreparedDatabase> {
  if (singleRole) {
    const { username } = new URL(ownerUrl)
    log.warn('DATABASE_SINGLE_ROLE: the server works as the owner of the tables', { username })
    return { url: ownerUrl, separated: false }
  }
  const [{ database }] = (await sql`select current_database() as database`) as [Named]
  const url = serverUrl ?? derivedUrl(ownerUrl, database)
  const role = decodeURIComponent(new URL(url).username)
  const present = await isLesser(sql, role)
  if (!present && serverUrl !== undefined) throw new Error(noSuchRole(role))
  if (!present) await orRefuse(createServerRole(sql, role, passwordOf(url)), mayNotMake(role))
  await grantRights(sql, role)
  if (await keepsTemporary(sql, role)) {
    log.warn('the server’s role may make temporary tables, which the owner cannot take from it', {
      role,
      remedy: `revoke temporary on database ${database} from public, by the database’s owner`,
    })
  }
  if (await letsIn(url, database)) return { url, separated: true }
  if (serverUrl !== undefined) throw new Error(notLetIn(role, 'DATABASE_SERVER_URL'))
  // Made from another password of the owner's, which has changed since.
  await orRefuse(renewPassword(sql, role, passwordOf(url)), notLetIn(role, 'DATABASE_URL'))
  if (!(await letsIn(url, database))) throw new Error(notLetIn(role, 'DATABASE_URL'))
  log.info('the server’s role has a new password, as the owner has', { role })
  return { url, separated: true }
}

interface Named {
  readonly database: string
}

/** The owner's URL with the role that is made where none is named. */
function derivedUrl(ownerUrl: string, database: string): string {
  const url = new URL(ownerUrl)
  const role = serverRoleOf(database)
  const password = passwordOf(ownerUrl)
  url.username = role
  if (password !== undefined) url.password = serverPassword(password, role)
  return url.href
}

/** The password of a URL; undefined where logins need none. */
function passwordOf(url: string): string | undefined {
  const { password } = new URL(url)
  return password === '' ? undefined : decodeURIComponent(password)
}

/** Roles of PostgreSQL that reach past rights on tables. */
const POWERS = [
  'pg_write_all_data',
  'pg_maintain',
  'pg_read_server_files',
  'pg_write_server_files',
  'pg_execute_server_program',
  'pg_create_subscription',
]

/**
 * Whether there is a role of this name.
 * @throws Error when it can do, or become one that can do, what the server must not
 */
async function isLesser(sql: SQL, role: string): Promise<boolean> {
  const [found] = (await sql`
    select rolsuper or rolcreaterole or rolbypassrls or rolreplication as mighty,
      pg_has_role(r.oid, current_user, 'member')
        or exists (select from pg_class c where c.relnamespace = 'public'::regnamespace
          and pg_has_role(r.oid, c.relowner, 'member')) as owner,
      exists (select from pg_roles p where pg_has_role(r.oid, p.oid, 'member')
        and p.rolname = any(string_to_array(${POWERS.join(' ')}, ' '))) as powers
    from pg_roles r where r.rolname = ${role}`) as Record<'mighty' | 'owner' | 'powers', boolean>[]
  if (found === undefined) return false
  if (found.mighty || found.owner || found.powers) throw new Error(tooMuch(role))
  return true
}

async function keepsTemporary(sql: SQL, role: string): Promise<boolean> {
  const [row] = (await sql`
    select has_database_privilege(${role}, current_database(), 'TEMP') as temporary`) as [
    { temporary: boolean },
  ]
  return row.temporary
}

/**
 * Whether the role's own URL works.
 * @throws Error when it leads to another database
 */
async function letsIn(url: string, database: string): Promise<boolean> {
  const sql = new SQL({ url, max: 1, connectionTimeout: 5 })
  try {
    const [found] = (await sql`select current_database() as database`) as [Named]
    if (found.database === database) return true
    throw new Error(
      `DATABASE_SERVER_URL leads to the database ${found.database}, DATABASE_URL to ${database}`,
    )
  } catch (error) {
    // Wrong password, no login, no way in: a class of its own.
    if (sqlState(error)?.startsWith('28') === true) return false
    throw error
  } finally {
    await sql.close()
  }
}

async function renewPassword(sql: SQL, role: string, password: string | undefined): Promise<void> {
  if (password === undefined) return
  const [names] = await sql`
    select quote_ident(${role}) as role, quote_literal(${password}) as password`
  await sql.unsafe(`alter role ${names.role} password ${names.password}`)
}

/** Waits for what an owner may not be allowed to do, and says then what to do instead. */
async function orRefuse(work: Promise<void>, sentence: string): Promise<void> {
  try {
    await work
  } catch (error) {
    if (sqlState(error) !== '42501') throw error
    throw new Error(sentence, { cause: error })
  }
}

const BY_HAND =
  'docs/decisions/007-two-database-roles.md has the statements for whoever administers the database'

const noSuchRole = (role: string) =>
  `The database has no role ${JSON.stringify(role)}, which DATABASE_SERVER_URL names. ${BY_HAND}`

const mayNotMake = (role: string) =>
  `The server needs a role of its own, and the owner in DATABASE_URL may not make ${role}. Make ` +
  `it by hand and name it in DATABASE_SERVER_URL, or let the owner make roles for one start ` +
  `(CREATEROLE). Outside production DATABASE_SINGLE_ROLE=true lets the server be the owner. ` +
  BY_HAND

const tooMuch = (role: string) =>
  `The role ${role} is more than the server may be: it can become the owner of the tables, make ` +
  `roles, or reach past rights on tables. ${BY_HAND}`

const notLetIn = (role: string, setting: string) =>
  `The database does not let the role ${role} in with the password of ${setting}, and the owner ` +
  `may not give it another. Name it with its password in DATABASE_SERVER_URL. ${BY_HAND}`
