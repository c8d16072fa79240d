import { join } from 'node:path'
import { SQL } from 'bun'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../db/embedded.ts'
import { obtainCredentials } from '../db/embedded/cluster.ts'
import { superuserUrl } from '../db/embedded/database.ts'
import { bunOf, type Checkout } from './checkout.ts'
import { track } from './process.ts'
import { seed, storeUsers } from './seed.ts'
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
  const postgres = await startCluster(folder)
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

/** A cluster whose owner may make databases and roles, as those of other checkouts expect. */
export async function startCluster(folder: string): Promise<EmbeddedPostgres> {
  const dataDir = join(folder, 'postgres')
  const postgres = await startEmbeddedPostgres({ dataDir })
  const { username } = new URL(postgres.ownerUrl)
  const credentials = obtainCredentials(dataDir, join(dataDir, 'cluster'))
  const sql = new SQL(superuserUrl(postgres.port, credentials), { max: 1 })
  try {
    await sql.unsafe(`alter role ${username} createdb createrole`)
  } finally {
    await sql.close()
  }
  return postgres
}

/** Makes one more database in the cluster. @returns its URL, as the owner */
export async function createDatabase(url: string, name: string): Promise<string> {
  const sql = new SQL(url, { max: 1 })
  try {
    await sql.unsafe(`create database ${name}`)
  } finally {
    await sql.close()
  }
  const own = new URL(url)
  own.pathname = name
  return own.href
}

/**
 * A database of its own for the server of another checkout, whose migrations may differ: made by
 * them, with the same users.
 * @throws Error with what its migration says
 */
export async function databaseFor(
  checkout: Checkout,
  users: readonly BenchUser[],
  at: { url: string; name: string; folder: string; env: Readonly<Record<string, string>> },
): Promise<Readonly<Record<string, string>>> {
  const own = {
    DATABASE_URL: await createDatabase(at.url, at.name),
    DATA_DIR: join(at.folder, at.name),
  }
  const command = [bunOf(checkout.folder), join(checkout.folder, 'scripts', 'migrate.ts')]
  const env = { ...at.env, ...own }
  const options = { cwd: at.folder, env, stdout: 'ignore', stderr: 'pipe' } as const
  const child = track(Bun.spawn(command, options))
  const errors = await new Response(child.stderr).text()
  if ((await child.exited) !== 0) throw new Error(`${checkout.name}: ${errors.trim()}`)
  await storeUsers(own.DATABASE_URL, users)
  return own
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
