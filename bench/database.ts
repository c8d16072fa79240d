import { join } from 'node:path'
import { SQL } from 'bun'
import { startEmbeddedPostgres } from '../db/embedded.ts'
import { seed } from './seed.ts'
import type { BenchUser } from './users.ts'

/** The Postgres of a run: embedded, durable, empty but for the users. */
export interface BenchDatabase {
  /** As the owner. */
  readonly url: string
  /** The postmaster; its children are found from it. */
  readonly pid: number
  readonly version: string
  stop(): Promise<void>
}

/** Starts it on the cores of this process and stores the users. */
export async function startDatabase(
  folder: string,
  users: readonly BenchUser[],
): Promise<BenchDatabase> {
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres') })
  const { ownerUrl: url, pid } = postgres
  const stop = () => postgres.stop()
  try {
    await seed(url, users)
    return { url, pid, version: await readVersion(url), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function readVersion(url: string): Promise<string> {
  const sql = new SQL(url, { max: 1 })
  try {
    const [row] = await sql`show server_version`
    return row.server_version
  } finally {
    await sql.close()
  }
}
