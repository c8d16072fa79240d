import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SQL } from 'bun'
import { drizzle } from 'drizzle-orm/bun-sql'
import { migrate } from 'drizzle-orm/bun-sql/migrator'
import type { Logger } from '../src/observe/log.ts'

/** One number for the whole database, so that two instances never migrate at the same time. */
const MIGRATION_LOCK = 7_214_930_551

/** The folder of migrations, beside this file or beside the built bundle. */
function migrationsFolder(): string {
  const folder = join(import.meta.dir, 'migrations')
  if (!existsSync(folder)) throw new Error(`no migrations at ${folder}`)
  return folder
}

/**
 * Applies what is new in `db/migrations` as the owner, then runs `after`, all on one connection
 * that holds the lock (through a pool, asking and unlocking would hit different connections).
 */
export async function migrateSchema<T>(
  ownerUrl: string,
  log: Logger,
  after: (sql: SQL) => Promise<T>,
): Promise<T> {
  const sql = new SQL({
    url: ownerUrl,
    max: 1,
    connectionTimeout: 5,
    connection: { application_name: 'rialto-migrations', client_min_messages: 'warning' },
  })
  try {
    await sql`select pg_advisory_lock(${MIGRATION_LOCK})`
    try {
      await migrate(drizzle({ client: sql }), { migrationsFolder: migrationsFolder() })
      return await after(sql)
    } finally {
      await sql`select pg_advisory_unlock(${MIGRATION_LOCK})`.catch((error: Error) => {
        log.debug('the migration lock went with its connection', { error: error.message })
      })
    }
  } finally {
    await sql.close()
  }
}
