import { randomBytes } from 'node:crypto'
import { accessSync, constants, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { freemem, tmpdir } from 'node:os'
import { join } from 'node:path'
import { SQL } from 'bun'
import { type Database, openDatabase } from '../../db/client.ts'
import { startEmbeddedPostgres } from '../../db/embedded.ts'
import { obtainCredentials } from '../../db/embedded/cluster.ts'
import { superuserUrl } from '../../db/embedded/database.ts'
import { prepareDatabase } from '../../db/roles.ts'
import { createServerRole, serverPassword, serverRoleOf } from '../../db/server-role.ts'
import { sqlState } from '../../db/transaction.ts'
import { systemClock } from '../../src/base/clock.ts'
import { quietLog } from './log.ts'

/** A migrated database of a test's own, on the real PostgreSQL that the tests of a run share. */
export interface TestDatabase {
  /** As the server sees it. */
  readonly url: string
  /** As its owner. */
  readonly ownerUrl: string
  readonly db: Database
  drop(): Promise<void>
}

/** A PostgreSQL for the databases of many tests, in a folder of its own. */
interface TestCluster extends ClusterUrls {
  stop(): Promise<void>
}

/** Who may do what in a PostgreSQL of the tests. */
interface ClusterUrls {
  /** As the owner of databases, who can make none. */
  readonly ownerUrl: string
  /** As PostgreSQL's superuser: whoever administers a database server. */
  readonly superuser: string
}

/** Memory as a folder, where Linux has it, and how much must be free for it to be used. */
const SHM = '/dev/shm'
const SHM_BYTES_MIN = 4 * 2 ** 30

/** Where a cluster is fastest: a new database is hundreds of files, which cost a disk 0.3 s. */
function clusterParent(): string {
  try {
    accessSync(SHM, constants.W_OK)
    const { bavail, bsize } = statfsSync(SHM)
    if (Math.min(bavail * bsize, freemem()) >= SHM_BYTES_MIN) return SHM
  } catch {
    // There is none, or it is not ours to write.
  }
  return tmpdir()
}

/**
 * Starts one, with a migrated database to copy. Without fsync, because no test cuts the machine's
 * power; with connections for as many servers as the files that run side by side may have.
 */
export async function startTestCluster(): Promise<TestCluster> {
  const folder = mkdtempSync(join(clusterParent(), 'rialto-test-'))
  const dataDir = join(folder, 'postgres')
  const { ownerUrl, port, stop } = await startEmbeddedPostgres({
    dataDir,
    settings: { fsync: 'off', max_connections: '800', max_wal_size: '256MB' },
  })
  const superuser = superuserOf(dataDir, port)
  const made = { superuser, ownerUrl, name: 'rialto_template', template: 'template1' }
  const template = await createDatabase(made)
  await prepareDatabase({ ownerUrl: template, clock: systemClock, log: quietLog })
  return {
    ownerUrl,
    superuser,
    async stop() {
      await stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The name of the variable in which the launcher hands the run's PostgreSQL to its tests. */
const SHARED = 'RIALTO_TEST_POSTGRES'
let own: Promise<TestCluster> | undefined
let count = 0

/** The run's PostgreSQL, or, in a run without the launcher's, one that this process starts. */
async function cluster(): Promise<ClusterUrls> {
  const shared = process.env[SHARED]
  if (shared !== undefined) return JSON.parse(shared) as ClusterUrls
  return await (own ??= startTestCluster())
}

/** Stops the PostgreSQL that this process has started, if it has. */
export async function stopTestCluster(): Promise<void> {
  const started = await own
  own = undefined
  await started?.stop()
}

/** The URL of the superuser of an embedded PostgreSQL, who makes databases and roles. */
export function superuserOf(dataDir: string, port: number): string {
  return superuserUrl(port, obtainCredentials(dataDir, join(dataDir, 'cluster')))
}

/** The same of the PostgreSQL that the tests of a run share. */
export async function superuserOfTests(): Promise<string> {
  return (await cluster()).superuser
}

/**
 * Makes a database of the same owner, and the server's role of it, as whoever administers a
 * database server would: the owner may make neither.
 * @returns its owner's URL
 */
export async function createDatabase(options: {
  /** As the superuser. */
  superuser: string
  ownerUrl: string
  name: string
  template: string
}): Promise<string> {
  const { superuser, name, template } = options
  const url = new URL(options.ownerUrl)
  url.pathname = `/${name}`
  const role = serverRoleOf(name)
  const sql = new SQL({ url: superuser, max: 1 })
  try {
    await sql.unsafe(`create database ${name} template ${template} owner ${url.username}`)
    await createServerRole(sql, role, serverPassword(url.password, role))
  } finally {
    await sql.close()
  }
  return url.href
}

/** How long the last connections to a database may take to end, in ms. */
const DROP_MS_MAX = 5_000

/**
 * Drops a database, and the server's role of it, once its connections have ended: a closed client
 * says good-bye a moment before PostgreSQL has noticed.
 */
async function dropDatabase(superuser: string, name: string): Promise<void> {
  const sql = new SQL({ url: superuser, max: 1 })
  const startMs = performance.now()
  try {
    for (;;) {
      try {
        await sql.unsafe(`drop database if exists ${name} with (force)`)
        await sql.unsafe(`drop role if exists ${serverRoleOf(name)}`)
        return
      } catch (error) {
        const busy = ['42501', '55006'].includes(sqlState(error) ?? '')
        if (!busy || performance.now() - startMs > DROP_MS_MAX) throw error
        await Bun.sleep(20)
      }
    }
  } finally {
    await sql.close()
  }
}

/** A database in which nothing is yet, and the server's role of it, which may do nothing there. */
export async function emptyDatabase(
  template = 'template1',
): Promise<Pick<TestDatabase, 'url' | 'ownerUrl' | 'drop'>> {
  const { superuser, ownerUrl: other } = await cluster()
  // Several processes make databases here, and a worker may count anew for each of its files.
  const name = `test_${process.pid}_${++count}_${randomBytes(4).toString('hex')}`
  const ownerUrl = await createDatabase({ superuser, ownerUrl: other, name, template })
  const url = new URL(ownerUrl)
  url.username = serverRoleOf(name)
  url.password = serverPassword(url.password, url.username)
  return { url: url.href, ownerUrl, drop: () => dropDatabase(superuser, name) }
}

/** Makes a fresh, migrated database. */
export async function testDatabase(): Promise<TestDatabase> {
  const made = await emptyDatabase('rialto_template')
  const { ownerUrl } = made
  const { url } = await prepareDatabase({ ownerUrl, clock: systemClock, log: quietLog })
  const db = openDatabase({ url, clock: systemClock })
  return {
    url,
    ownerUrl,
    db,
    async drop() {
      await db.close()
      await made.drop()
    },
  }
}
