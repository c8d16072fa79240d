import { randomBytes } from 'node:crypto'
import { accessSync, constants, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { freemem, tmpdir } from 'node:os'
import { join } from 'node:path'
import { SQL } from 'bun'
import { type Database, openDatabase } from '../../db/client.ts'
import { startEmbeddedPostgres } from '../../db/embedded.ts'
import { prepareDatabase } from '../../db/roles.ts'
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
interface TestCluster {
  readonly ownerUrl: string
  stop(): Promise<void>
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
  const { ownerUrl, stop } = await startEmbeddedPostgres({
    dataDir: join(folder, 'postgres'),
    settings: { fsync: 'off', max_connections: '800', max_wal_size: '256MB' },
  })
  const template = await createDatabase(ownerUrl, 'rialto_template', 'template1')
  await prepareDatabase({ ownerUrl: template, clock: systemClock, log: quietLog })
  return {
    ownerUrl,
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
async function clusterUrl(): Promise<string> {
  const shared = process.env[SHARED]
  if (shared !== undefined) return shared
  own ??= startTestCluster()
  return (await own).ownerUrl
}

/** Stops the PostgreSQL that this process has started, if it has. */
export async function stopTestCluster(): Promise<void> {
  const cluster = await own
  own = undefined
  await cluster?.stop()
}

/** Makes a database beside another; returns its owner's URL. */
export async function createDatabase(
  ownerUrl: string,
  name: string,
  template: string,
): Promise<string> {
  const sql = new SQL({ url: ownerUrl, max: 1 })
  try {
    await sql.unsafe(`create database ${name} template ${template}`)
  } finally {
    await sql.close()
  }
  const url = new URL(ownerUrl)
  url.pathname = `/${name}`
  return url.href
}

/** How long the last connections to a database may take to end, in ms. */
const DROP_MS_MAX = 5_000

/**
 * Drops a database once its connections have ended: `force` may not end those of the server's
 * role, and a closed client says good-bye a moment before PostgreSQL has noticed.
 */
async function dropDatabase(ownerUrl: string, name: string): Promise<void> {
  const sql = new SQL({ url: ownerUrl, max: 1 })
  const startMs = performance.now()
  try {
    for (;;) {
      try {
        await sql.unsafe(`drop database if exists ${name} with (force)`)
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

/** Makes a fresh, migrated database. */
export async function testDatabase(): Promise<TestDatabase> {
  const server = await clusterUrl()
  // Several processes make databases here, and a worker may count anew for each of its files.
  const name = `test_${process.pid}_${++count}_${randomBytes(4).toString('hex')}`
  const ownerUrl = await createDatabase(server, name, 'rialto_template')
  const { url } = await prepareDatabase({ ownerUrl, clock: systemClock, log: quietLog })
  const db = openDatabase({ url, clock: systemClock })
  return {
    url,
    ownerUrl,
    db,
    async drop() {
      await db.close()
      await dropDatabase(server, name)
    },
  }
}
