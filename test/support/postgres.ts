import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDatabase } from '../../db/client.ts'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../db/embedded.ts'
import { isAlive } from '../../db/embedded/postmaster.ts'
import { prepareDatabase } from '../../db/roles.ts'
import { systemClock } from '../../src/base/clock.ts'
import { createDatabase, superuserOf, type TestDatabase } from './database.ts'
import { quietLog } from './log.ts'
import { until } from './wait.ts'

/** How PostgreSQL is told to go: fast, immediate (as in a crash), or not at all. */
export type Ending = 'SIGINT' | 'SIGQUIT' | 'SIGKILL'

/** A PostgreSQL of a test's own, as durable as in production, that can go away and come back. */
export interface OwnPostgres {
  /** Makes a fresh, migrated database. */
  database(): Promise<TestDatabase>
  /** Ends it and waits until it is gone. */
  end(how: Ending): Promise<void>
  /** Starts it again, on the same port. */
  start(): Promise<void>
  remove(): Promise<void>
}

/** Starts one. */
export async function ownPostgres(): Promise<OwnPostgres> {
  const folder = mkdtempSync(join(tmpdir(), 'rialto-postgres-'))
  const settings = { max_connections: '200' }
  const dataDir = join(folder, 'postgres')
  const launch = () => startEmbeddedPostgres({ dataDir, settings })
  let postgres: EmbeddedPostgres | undefined = await launch()
  const { ownerUrl: firstUrl, port } = postgres
  const opened: TestDatabase['db'][] = []

  const tryLaunch = async () => {
    try {
      postgres = await launch()
      return true
    } catch (error) {
      // The back ends of one that was killed still hold its memory.
      if (/shared memory|did not start/.test((error as Error).message)) return false
      throw error
    }
  }
  return {
    async database() {
      const ownerUrl = await createDatabase({
        superuser: superuserOf(dataDir, port),
        ownerUrl: firstUrl,
        name: `own_${opened.length}`,
        template: 'template1',
      })
      const { url } = await prepareDatabase({ ownerUrl, clock: systemClock, log: quietLog })
      const db = openDatabase({ url, clock: systemClock })
      opened.push(db)
      return { url, ownerUrl, db, drop: () => Promise.resolve() }
    },
    async end(how) {
      if (postgres === undefined) return
      const { pid, stop } = postgres
      process.kill(pid, how)
      await until(() => !isAlive(pid), 'PostgreSQL is gone')
      await stop()
      postgres = undefined
    },
    async start() {
      await until(tryLaunch, 'PostgreSQL runs again')
      if (postgres?.port !== port) throw new Error('PostgreSQL came back on another port')
    },
    async remove() {
      for (const db of opened) await db.close()
      await postgres?.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
