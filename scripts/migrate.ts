/**
 * Brings the configured database up to date and ends: `bun run db:migrate`. The server does the
 * same at its start; this is for those who want it done before.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SQL } from 'bun'
import { startEmbeddedPostgres } from '../db/embedded.ts'
import { prepareDatabase } from '../db/roles.ts'
import { isConnectionFailure, sqlState } from '../db/transaction.ts'
import { systemClock } from '../src/base/clock.ts'
import { type Config, loadConfig } from '../src/config.ts'
import { features } from '../src/features.ts'
import { createLogger } from '../src/observe/log.ts'

/** When each migration that the database has was made; that is how drizzle knows them. */
async function appliedMigrations(url: string): Promise<Set<number>> {
  const sql = new SQL({ url, max: 1 })
  try {
    const rows = await sql`select created_at::float8 as made from drizzle.__drizzle_migrations`
    return new Set(rows.map(({ made }: { made: number }) => made))
  } catch (error) {
    // No such schema or table: it is a new database.
    if (/^(3F000|42P01)$/.test(sqlState(error) ?? '')) return new Set()
    throw error
  } finally {
    await sql.close()
  }
}

interface Journal {
  readonly entries: readonly { readonly when: number; readonly tag: string }[]
}

async function migrate(ownerUrl: string, { database }: Config): Promise<void> {
  const file = join(import.meta.dir, '../db/migrations/meta/_journal.json')
  const { entries } = JSON.parse(readFileSync(file, 'utf8')) as Journal
  const before = await appliedMigrations(ownerUrl).catch((error: unknown) => {
    // Not there yet: what follows waits for it.
    if (!isConnectionFailure(error)) throw error
    return undefined
  })
  const log = createLogger({ level: 'warn', clock: systemClock })
  const { serverUrl, singleRole } = database
  const roles = { ownerUrl, serverUrl, singleRole }
  const { url, separated } = await prepareDatabase({ ...roles, clock: systemClock, log })
  const { hostname, port, pathname, username } = new URL(url)
  console.log(`database ${hostname}:${port || '5432'}${pathname}`)
  const fresh = entries.filter(({ when }) => before?.has(when) === false).map(({ tag }) => tag)
  if (fresh.length > 0) console.log(`applied ${fresh.join(', ')}`)
  console.log(`up to date: ${entries.length} migrations`)
  console.log(separated ? `the server works as ${username}` : 'the server works as the owner')
}

async function main(): Promise<void> {
  const config: Config = loadConfig({ features: features.map(({ name }) => name) })
  if (config.database.url !== undefined) return await migrate(config.database.url, config)
  const embedded = await startEmbeddedPostgres({ dataDir: join(config.dataDir, 'postgres') })
  try {
    await migrate(embedded.ownerUrl, config)
  } finally {
    await embedded.stop()
  }
}

await main().catch((error: Error) => {
  console.error(`db:migrate: ${error.message}`)
  process.exit(1)
})
