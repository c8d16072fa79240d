import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SQL } from 'bun'
import { type Database, openDatabase } from '../../db/client.ts'
import { obtainCredentials } from '../../db/embedded/cluster.ts'
import { superuserUrl } from '../../db/embedded/database.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../db/embedded.ts'
import { prepareDatabase } from '../../db/roles.ts'
import { createServerRole, serverPassword, serverRoleOf } from '../../db/server-role.ts'
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

interface TestCluster {
  readonly postgres: EmbeddedPostgres
  readonly folder: string
  /** As PostgreSQL's superuser: whoever administers a database server. */
  readonly superuser: string
}

let cluster: Promise<TestCluster> | undefined
let count = 0

/** The run's PostgreSQL; without fsync, because no test cuts the machine's power. */
function testCluster() {
  cluster ??= (async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rialto-test-'))
    const dataDir = join(folder, 'postgres')
    const postgres = await startEmbeddedPostgres({
      dataDir,
      settings: { fsync: 'off', max_connections: '300' },
    })
    const superuser = superuserOf(dataDir, postgres.port)
    const { ownerUrl } = postgres
    const made = { superuser, ownerUrl, name: 'rialto_template', template: 'template1' }
    const template = await createDatabase(made)
    await prepareDatabase({ ownerUrl: template, clock: systemClock, log: quietLog })
    return { postgres, folder, superuser }
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

/** The URL of the superuser of an embedded PostgreSQL, who makes databases and roles. */
export function superuserOf(dataDir: string, port: number): string {
  return superuserUrl(port, obtainCredentials(dataDir, join(dataDir, 'cluster')))
}

/** The same of the cluster that all tests share. */
export async function superuserOfTests(): Promise<string> {
  return (await testCluster()).superuser
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
  const { postgres, superuser } = await testCluster()
  const name = `test_${process.pid}_${++count}`
  const made = { superuser, ownerUrl: postgres.ownerUrl, name, template }
  const ownerUrl = await createDatabase(made)
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
