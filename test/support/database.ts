import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SQL } from 'bun'
import { type Database, openDatabase } from '../../db/client.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../db/embedded.ts'
import { prepareDatabase } from '../../db/roles.ts'
import { sqlState } from '../../db/transaction.ts'
import { systemClock } from '../../src/base/clock.ts'
import { quietLog } from './log.ts'

/** A migrated database of a test's own, on the real PostgreSQL that all tests of a run share. */
export interface TestDatabase {
  /** As the server sees it. */
  readonly url: string
  /** As its owner. */
  readonly ownerUrl: string
  readonly db: Database
  drop(): Promise<void>
}

let cluster: Promise<{ postgres: EmbeddedPostgres; folder: string }> | undefined
let count = 0

/** The run's PostgreSQL; without fsync, because no test cuts the machine's power. */
function testCluster() {
  cluster ??= (async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rialto-test-'))
    const postgres = await startEmbeddedPostgres({
      dataDir: join(folder, 'postgres'),
      settings: { fsync: 'off', max_connections: '300' },
    })
    const template = await createDatabase(postgres.ownerUrl, 'rialto_template', 'template1')
    await prepareDatabase({ ownerUrl: template, clock: systemClock, log: quietLog })
    return { postgres, folder }
  })()
  return cluster
}

/** Stops the run's PostgreSQL, if a test has started it. */
export async function stopTestCluster(): Promise<void> {
  if (cluster === undefined) return
  const { postgres, folder } = await cluster
  cluster = undefined
  await postgres.stop()
  rmSync(folder, { recursive: true, force: true })
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
  const { postgres } = await testCluster()
  const name = `test_${process.pid}_${++count}`
  const ownerUrl = await createDatabase(postgres.ownerUrl, name, 'rialto_template')
  const { url } = await prepareDatabase({ ownerUrl, clock: systemClock, log: quietLog })
  const db = openDatabase({ url, clock: systemClock })
  return {
    url,
    ownerUrl,
    db,
    async drop() {
      await db.close()
      await dropDatabase(postgres.ownerUrl, name)
    },
  }
}
