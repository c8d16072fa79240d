import { SQL } from 'bun'
import { createServerRole, serverPassword, serverRoleOf } from '../server-role.ts'
import type { Credentials } from './cluster.ts'

const DATABASE = 'rialto'
const OWNER = 'rialto_owner'

/** Where the database is, as its owner. */
export function ownerUrl(port: number, { owner }: Credentials): string {
  return urlOf(port, OWNER, owner, DATABASE)
}

/** The cluster as PostgreSQL's superuser, who makes databases and roles. */
export function superuserUrl(port: number, { superuser }: Credentials): string {
  return urlOf(port, 'postgres', superuser, 'postgres')
}

function urlOf(port: number, role: string, password: string, database: string): string {
  return `postgres://${role}:${password}@127.0.0.1:${port}/${database}`
}

async function withConnection<T>(url: string, work: (sql: SQL) => Promise<T>): Promise<T> {
  const sql = new SQL({ url, max: 1, connectionTimeout: 5 })
  try {
    return await work(sql)
  } finally {
    await sql.close()
  }
}

/** Whether the server at `port` is ours: lets the owner in with our password. */
export async function answers(port: number, credentials: Credentials): Promise<boolean> {
  try {
    await withConnection(ownerUrl(port, credentials), (sql) => sql`select 1`)
    return true
  } catch {
    return false
  }
}

/**
 * Whether something is missing, or the owner can do more than it needs, as those of earlier
 * versions could: make roles and databases.
 */
export async function needsProvision(port: number, credentials: Credentials): Promise<boolean> {
  try {
    return await withConnection(ownerUrl(port, credentials), async (sql) => {
      const [row] = await sql`
        select rolcreaterole or rolcreatedb
          or not exists (select from pg_roles where rolname = ${serverRoleOf(DATABASE)}) as needed
        from pg_roles where rolname = current_user`
      return row.needed as boolean
    })
  } catch {
    return true
  }
}

/**
 * Makes the owner, the server's role and the database; what is there already stays.
 * @throws Error when the cluster does not take the passwords in the data folder
 */
export async function provision(port: number, credentials: Credentials): Promise<void> {
  await withConnection(superuserUrl(port, credentials), async (sql) => {
    const server = serverRoleOf(DATABASE)
    const [found] = await sql`
      select exists(select from pg_roles where rolname = ${OWNER}) as role,
        exists(select from pg_roles where rolname = ${server}) as server,
        exists(select from pg_database where datname = ${DATABASE}) as database`
    // The passwords are base64url, and the names constants: nothing to quote.
    await sql.unsafe(
      `${found.role ? 'alter' : 'create'} role ${OWNER}
         login nocreatedb nocreaterole nosuperuser password '${credentials.owner}'`,
    )
    if (!found.server) {
      await createServerRole(sql, server, serverPassword(credentials.owner, server))
    }
    // To end sessions of the server's role, as before dropping the database or restoring one.
    await sql.unsafe(`grant pg_signal_backend to ${OWNER}`)
    if (!found.database) await sql.unsafe(`create database ${DATABASE} owner ${OWNER}`)
  }).catch((error: Error) => {
    const message = `The embedded PostgreSQL does not take the passwords in credentials.json`
    throw /password/.test(error.message) ? new Error(message, { cause: error }) : error
  })
}
