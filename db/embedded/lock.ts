import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Database } from 'bun:sqlite'
import { systemClock } from '../../src/base/clock.ts'
import { giveToOwner } from './account.ts'

/**
 * Makes this process the only one that uses `dataDir`, until the returned function is called or
 * the process ends in any way. The lock is the operating system's, by way of SQLite: unlike a file
 * with a process id it cannot outlive its owner, and it holds between containers.
 *
 * @throws Error that names the process in the way
 */
export function lockFolder(dataDir: string): () => void {
  const path = join(dataDir, 'lock')
  const owner = join(dataDir, 'owner.json')
  const database = new Database(path, { create: true })
  try {
    database.run('begin exclusive')
  } catch (error) {
    database.close()
    if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error
    throw new Error(
      `The data folder ${dataDir} is in use by another Rialto process${describe(owner)}. ` +
        'Stop that one, give this one another DATA_DIR, or let both use one DATABASE_URL',
      { cause: error },
    )
  }
  // Only for the message above; the lock does not depend on it.
  const since = systemClock.date().toISOString()
  writeFileSync(owner, `${JSON.stringify({ pid: process.pid, since })}\n`)
  for (const file of [path, owner]) {
    chmodSync(file, 0o600)
    giveToOwner(dataDir, file)
  }
  return () => database.close()
}

function describe(owner: string): string {
  try {
    const { pid, since } = JSON.parse(readFileSync(owner, 'utf8'))
    return ` (process ${pid}, since ${since})`
  } catch {
    return ''
  }
}
