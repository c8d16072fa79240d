import { join } from 'node:path'
import { SQL } from 'bun'
import { obtainCredentials } from '../db/embedded/cluster.ts'
import { ownerUrl } from '../db/embedded/database.ts'
import { identify, isAlive, readPidFile } from '../db/embedded/postmaster.ts'
import { startEmbeddedPostgres } from '../db/embedded.ts'
import type { Config } from '../src/config.ts'

/**
 * One connection to the configured database as its owner, for the tools of the audit log. Changes
 * no table, and works beside a running server, also with the embedded database.
 */
export async function withAuditDatabase<T>(
  { database, dataDir }: Config,
  work: (sql: SQL) => Promise<T>,
): Promise<T> {
  const folder = join(dataDir, 'postgres')
  const running = database.url ?? runningEmbedded(folder)
  const own = running === undefined ? await startEmbeddedPostgres({ dataDir: folder }) : undefined
  const connection = { application_name: 'rialto-audit' }
  const sql = new SQL({ url: running ?? own?.ownerUrl ?? '', max: 1, connection })
  try {
    return await work(sql)
  } finally {
    await sql.close()
    await own?.stop()
  }
}

/** The URL of the embedded database that a server has just running. */
function runningEmbedded(folder: string): string | undefined {
  const cluster = join(folder, 'cluster')
  const found = readPidFile(cluster)
  if (found?.ready !== true || !isAlive(found.pid)) return undefined
  if (identify(found.pid, cluster) === 'foreign') return undefined
  return ownerUrl(found.port, obtainCredentials(folder, cluster))
}
