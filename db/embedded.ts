/**
 * A real PostgreSQL beside the server, for machines without one; see `embedded/README.md` for its
 * folder and its promises.
 */

import { existsSync, mkdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { accountFor } from './embedded/account.ts'
import { locateBinaries } from './embedded/binaries.ts'
import { checkCluster, createCluster, obtainCredentials, pathFor } from './embedded/cluster.ts'
import { needsProvision, ownerUrl, provision } from './embedded/database.ts'
import { lockFolder } from './embedded/lock.ts'
import { sendSignal, stopPostmaster } from './embedded/postmaster.ts'
import { hasName } from './embedded/program.ts'
import { launch, type Start, takeOver } from './embedded/server.ts'

/** A running PostgreSQL that this process is responsible for. */
export interface EmbeddedPostgres {
  /** Database `rialto` as its owner, who may make neither roles nor databases. */
  readonly ownerUrl: string
  readonly port: number
  readonly pid: number
  /** It was left running by a process that ended without stopping it. */
  readonly adopted: boolean
  /**
   * Stops it, and lets others use the folder. Sessions that are still open are ended.
   * @throws Error when it still runs after 15 s
   */
  stop(): Promise<void>
}

/** How to start. */
export interface EmbeddedOptions {
  /** A folder of its own, made if need be; everything is kept in it. */
  readonly dataDir: string
  readonly log?: (message: string, fields?: Record<string, unknown>) => void
  /** PostgreSQL settings beyond the defaults here, by name. */
  readonly settings?: Readonly<Record<string, string>>
}

/** For two cores and a few hundred megabytes; durability is never traded. */
const DEFAULT_SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '128MB',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  // Compiling costs more than it saves on statements of milliseconds.
  jit: 'off',
  random_page_cost: '1.1',
  timezone: 'UTC',
  log_timezone: 'UTC',
  // Errors are the application's to log: their text would carry users' values into a file.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_checkpoints: 'off',
}

/**
 * Starts PostgreSQL in `dataDir`, making its cluster at the first start, or adopts the one that a
 * killed process left there.
 *
 * @throws Error with a sentence for the operator: the folder is in use by another process, holds
 * something else or another version, or there are no binaries for this platform
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  mkdirSync(options.dataDir, { recursive: true, mode: 0o700 })
  const dataDir = realpathSync(options.dataDir)
  const unlock = lockFolder(dataDir)
  try {
    const { start, created } = prepare(dataDir, options)
    const server = (await takeOver(start)) ?? (await launch(start))
    const { port, pid } = server
    try {
      if (created || (await needsProvision(port, start.credentials))) {
        await provision(port, start.credentials)
      }
    } catch (error) {
      await stopPostmaster(pid, start.binaries)
      throw error
    }
    const stop = stopper(pid, start, unlock)
    return { ...server, ownerUrl: ownerUrl(port, start.credentials), stop }
  } catch (error) {
    unlock()
    throw error
  }
}

/** Everything before a process is started: checks, passwords, and the cluster if there is none. */
function prepare(
  dataDir: string,
  { settings, log = () => {} }: EmbeddedOptions,
): { start: Start; created: boolean } {
  const cluster = join(dataDir, 'cluster')
  const account = accountFor(dataDir, cluster, hasName)
  const binaries = locateBinaries(account)
  checkCluster(dataDir, cluster, binaries.major)
  const credentials = obtainCredentials(dataDir, cluster)
  const created = !existsSync(cluster)
  if (created) {
    const startMs = systemClock.monotonicMs()
    createCluster({ dataDir, cluster, binaries, account, password: credentials.superuser })
    const ms = Math.round(systemClock.monotonicMs() - startMs)
    log('made a PostgreSQL cluster', { cluster, ms })
  }
  const args = ['-D', pathFor(account, cluster)]
  for (const [name, value] of Object.entries({ ...DEFAULT_SETTINGS, ...settings })) {
    args.push('-c', `${name}=${value}`)
  }
  const start = { dataDir, cluster, account, binaries, credentials, arguments: args, log }
  return { start, created }
}

/** Stops once, however often it is asked; a process that ends without asking stops it as well. */
function stopper(pid: number, { binaries }: Start, unlock: () => void): () => Promise<void> {
  const onExit = () => sendSignal(pid, 'INT', binaries)
  process.once('exit', onExit)
  const stop = async () => {
    try {
      await stopPostmaster(pid, binaries)
    } finally {
      process.off('exit', onExit)
      unlock()
    }
  }
  let stopped: Promise<void> | undefined
  return () => (stopped ??= stop())
}
