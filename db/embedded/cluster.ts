import {
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { randomToken } from '../../src/base/ids.ts'
import { type Account, giveToOwner } from './account.ts'
import type { Binaries } from './binaries.ts'
import { runProgram } from './program.ts'

/** The two logins of a cluster: PostgreSQL's superuser, and the owner of Rialto's database. */
export interface Credentials {
  readonly superuser: string
  readonly owner: string
}

const PASSWORD_BYTES = 24

/**
 * Says why a folder cannot be used as a cluster of PostgreSQL `major`, if it cannot. Looks only.
 * @throws Error that says what was found and what to do
 */
export function checkCluster(dataDir: string, cluster: string, major: string): void {
  if (existsSync(join(dataDir, 'PG_VERSION'))) {
    throw new Error(
      `${dataDir} is itself a PostgreSQL data folder, of somebody else. Nothing was changed. ` +
        'Use an empty DATA_DIR, or start that PostgreSQL and set DATABASE_URL',
    )
  }
  if (!existsSync(cluster)) return
  let found: string
  try {
    found = readFileSync(join(cluster, 'PG_VERSION'), 'utf8').trim()
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === 'EACCES') throw unreachable(cluster)
    if (code !== 'ENOENT') throw error
    throw new Error(
      `${cluster} exists but is no PostgreSQL cluster (no PG_VERSION). Nothing was changed. ` +
        'Move it away, or restore it from a backup',
      { cause: error },
    )
  }
  if (found === major) return
  const what = /^\d{1,2}(\.\d+)?$/.test(found)
    ? `was made by PostgreSQL ${found}, and this server brings ${major}`
    : 'has a damaged PG_VERSION'
  throw new Error(
    `${cluster} ${what}. Nothing was changed. Restore it from a backup, or dump it with its own ` +
      'version and load it into an empty DATA_DIR, or set DATABASE_URL',
  )
}

function unreachable(cluster: string): Error {
  const { uid } = statSync(cluster)
  return new Error(
    `${cluster} belongs to the account with id ${uid}, because root started Rialto here before. ` +
      `Start it as root again, or give it to yourself: sudo chown -R $(id -u) ${cluster}`,
  )
}

/**
 * The passwords in the data folder, made now if this is the first start.
 * @throws Error when there is a cluster and its passwords are lost
 */
export function obtainCredentials(dataDir: string, cluster: string): Credentials {
  const path = join(dataDir, 'credentials.json')
  if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8'))
  if (existsSync(cluster)) {
    throw new Error(
      `${cluster} is there but its passwords (${path}) are not. Nothing was changed. ` +
        'Restore that file from a backup',
    )
  }
  const made = { superuser: randomToken(PASSWORD_BYTES), owner: randomToken(PASSWORD_BYTES) }
  // Written whole or not at all: half a file would lock us out of the cluster.
  const partial = `${path}.new`
  writeFileSync(partial, `${JSON.stringify(made)}\n`, { mode: 0o600, flush: true })
  giveToOwner(dataDir, partial)
  renameSync(partial, path)
  return made
}

/** Makes a cluster, whole or not at all. Takes about a second. */
export function createCluster(options: {
  dataDir: string
  cluster: string
  binaries: Binaries
  account: Account | undefined
  password: string
}): void {
  const { dataDir, cluster, binaries, account, password } = options
  const partial = `${cluster}.new`
  // Left by a start that was cut off; nothing was ever stored in it.
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { mode: 0o700 })
  if (account) chownSync(partial, account.uid, account.gid)
  const passwordFile = join(dataDir, 'password.new')
  writeFileSync(passwordFile, password, { mode: 0o600 })
  if (account) chownSync(passwordFile, account.uid, account.gid)
  const stdin = openSync(passwordFile, 'r')
  try {
    // The account cannot reach the file by its path when the folder is closed to it.
    const source = process.platform === 'win32' ? passwordFile : '/dev/stdin'
    const { exitCode, output } = runProgram(
      [
        binaries.initdb,
        `--pgdata=${pathFor(account, partial)}`,
        '--username=postgres',
        `--pwfile=${source}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        // Case mapping for all of Unicode and the order of code points, the same on any machine.
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--locale=C',
        '--no-instructions',
      ],
      { account, cwd: partial, stdin },
    )
    if (exitCode !== 0) throw new Error(`PostgreSQL's initdb failed (${exitCode}): ${output}`)
  } finally {
    closeSync(stdin)
    rmSync(passwordFile)
  }
  renameSync(partial, cluster)
  syncFolder(dataDir)
}

/** Makes a rename durable. Windows cannot open folders, and does it by itself. */
function syncFolder(path: string): void {
  if (process.platform === 'win32') return
  const handle = openSync(path, 'r')
  fsyncSync(handle)
  closeSync(handle)
}

/**
 * How to name a cluster to a program that runs as `account` with the cluster as its working
 * directory: by that directory, so that no folder above needs to be open to the account.
 */
export function pathFor(account: Account | undefined, cluster: string): string {
  return account && process.platform === 'linux' ? '/proc/self/cwd' : cluster
}
