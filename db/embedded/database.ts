import { SQL } from 'bun'
import type { Credentials } from './cluster.ts'

const DATABASE = 'rialto'
const OWNER = 'rialto_owner'

/** Where the database is, as its owner. */
export function ownerUrl(port: number, { owner }: Credentials): string {
  return urlOf(port, OWNER, owner, DATABASE)
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
 * Makes the owner and the database; what is there already stays.
 * @throws Error when the cluster does not take the passwords in the data folder
 */
export async function provision(port: number, credentials: Credentials): Promise<void> {
  const url = urlOf(port, 'postgres', credentials.superuser, 'postgres')
  await withConnection(url, async (sql) => {
    const [found] = await sql`
      select exists(select from pg_roles where rolname = ${OWNER}) as role,
        exists(select from pg_database where datname = ${DATABASE}) as database`
    // The passwords are base64url, and the names constants: nothing to quote.
    await sql.unsafe(
      `${found.role ? 'alter' : 'create'} role ${OWNER}
         login createdb createrole nosuperuser password '${credentials.owner}'`,
    )
    // To end sessions of the roles it makes, as before dropping a database or restoring one.
    await sql.unsafe(`grant pg_signal_backend to ${OWNER}`)
    if (!found.database) await sql.unsafe(`create database ${DATABASE} owner ${OWNER}`)
  }).catch((error: Error) => {
    const message = `The embedded PostgreSQL does not take the passwords in credentials.json`
    throw /password/.test(error.message) ? new Error(message, { cause: error }) : error
  })
}
