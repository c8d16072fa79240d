import { createHmac } from 'node:crypto'
import type { SQL } from 'bun'

/** The server's own role as it is made where nobody has made one. */

/** What the server's role of a database is called, unless `DATABASE_SERVER_URL` names another. */
export const serverRoleOf = (database: string) => `${database}_server`

/**
 * The password of that role. Every instance has the owner's, so all of them come to the same one;
 * and it says nothing about the owner's.
 */
export function serverPassword(ownerPassword: string, role: string): string {
  return createHmac('sha256', ownerPassword).update(role).digest('base64url')
}

/** Makes a role that can log in and nothing else; `undefined` where logins need no password. */
export async function createServerRole(
  sql: SQL,
  role: string,
  password: string | undefined,
): Promise<void> {
  const [names] = await sql`
    select quote_ident(${role}) as role, quote_literal(${password ?? ''}) as password`
  const secret = password === undefined ? '' : `password ${names.password}`
  await sql.unsafe(
    `create role ${names.role} login nosuperuser nocreatedb nocreaterole noinherit noreplication
       ${secret}`,
  )
}
