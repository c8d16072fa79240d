import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { type Account, giveToOwner } from './account.ts'
import type { Binaries } from './binaries.ts'
import type { Credentials } from './cluster.ts'
import { answers } from './database.ts'
import {
  disownPidFile,
  identify,
  isAlive,
  lastArguments,
  readPidFile,
  stopPostmaster,
} from './postmaster.ts'
import { environment } from './program.ts'

/** What one start works with. */
export interface Start {
  readonly dataDir: string
  readonly cluster: string
  readonly account: Account | undefined
  readonly binaries: Binaries
  readonly credentials: Credentials
  /** PostgreSQL's, without the port. */
  readonly arguments: readonly string[]
  readonly log: (message: string, fields?: Record<string, unknown>) => void
}

/** A PostgreSQL that accepts connections. */
export interface Server {
  readonly pid: number
  readonly port: number
  readonly adopted: boolean
}

const POLL_MS = 5
const PORT_ATTEMPTS_MAX = 5
/** Recovery after a crash replays at most `max_wal_size`; this is far beyond it. */
const START_MS_MAX = 600_000
const STILL_STARTING_MS = 5_000

/**
 * The server that a killed process left running: adopted if it is what we would start, else
 * stopped. Undefined when there is none any more.
 */
export async function takeOver(start: Start): Promise<Server | undefined> {
  const { cluster, credentials, binaries, log } = start
  const found = readPidFile(cluster)
  if (!found) {
    await setDamagedPidFileAside(cluster, log)
    return undefined
  }
  const { pid, port } = found
  // PostgreSQL itself judges the file of a dead server, and waits for its back ends.
  if (!isAlive(pid)) return undefined
  const identity = identify(pid, cluster)
  if (identity === 'foreign') {
    disownPidFile(cluster)
    return undefined
  }
  const asWanted = lastArguments(cluster).slice(0, -2).join('\n') === start.arguments.join('\n')
  if (found.ready && asWanted && identity === 'ours' && (await answers(port, credentials))) {
    log('adopted the PostgreSQL that a killed process left running', { pid, port })
    return { pid, port, adopted: true }
  }
  log('replacing the PostgreSQL that a killed process left running', { pid })
  await stopPostmaster(pid, binaries)
  return undefined
}

/** A pid file without a pid, as after a power cut: PostgreSQL would refuse to start. */
async function setDamagedPidFileAside(cluster: string, log: Start['log']): Promise<void> {
  const path = join(cluster, 'postmaster.pid')
  if (!existsSync(path)) return
  // A server that was started just before its parent was killed is still writing it.
  await Bun.sleep(1_000)
  if (readPidFile(cluster))
    throw new Error(`A PostgreSQL is just starting in ${cluster}: try again`)
  renameSync(path, `${path}.damaged`)
  log('set a damaged postmaster.pid aside', { path: `${path}.damaged` })
}

/**
 * Starts PostgreSQL on the port it had before, or another free one, and waits until it accepts
 * connections.
 * @throws Error with the end of PostgreSQL's log
 */
export async function launch(start: Start): Promise<Server> {
  for (let attempt = 1; ; attempt++) {
    const port = freePort(attempt === 1 ? Number(lastArguments(start.cluster).at(-1)) : 0)
    try {
      return { pid: await launchOn(port, start), port, adopted: false }
    } catch (error) {
      // Somebody else may have taken the port meanwhile.
      const taken = /Address already in use/.test((error as Error).message)
      if (!taken || attempt === PORT_ATTEMPTS_MAX) throw error
    }
  }
}

/** A port of the loopback interface that is free now: `preferred` if it is one. */
function freePort(preferred: number): number {
  const wanted = Number.isInteger(preferred) && preferred > 1_023 ? preferred : 0
  try {
    const listener = Bun.listen({
      hostname: '127.0.0.1',
      port: wanted,
      exclusive: true,
      socket: { data() {} },
    })
    const { port } = listener
    listener.stop(true)
    return port
  } catch (error) {
    if (wanted === 0) throw error
    return freePort(0)
  }
}

async function launchOn(port: number, start: Start): Promise<number> {
  const { dataDir, cluster, account, binaries, log } = start
  const output = openLog(dataDir)
  const logStart = fstatSync(output).size
  const child = Bun.spawn([binaries.postgres, ...start.arguments, '-p', String(port)], {
    ...account,
    cwd: cluster,
    env: environment,
    stdio: ['ignore', output, output],
    // A session of its own: Ctrl-C reaches the server alone, which stops PostgreSQL last.
    detached: true,
  })
  closeSync(output)
  // A program that forgets to stop it ends all the same (and stops it then).
  child.unref()

  const startMs = systemClock.monotonicMs()
  let toldMs = startMs
  for (;;) {
    await Bun.sleep(POLL_MS)
    const file = readPidFile(cluster)
    if (file?.pid === child.pid && file.ready) return child.pid
    if (!isAlive(child.pid)) {
      throw new Error(`PostgreSQL did not start in ${dataDir}:\n${logSince(dataDir, logStart)}`)
    }
    const nowMs = systemClock.monotonicMs()
    if (nowMs - startMs > START_MS_MAX) {
      await stopPostmaster(child.pid, binaries)
      throw new Error(`PostgreSQL did not get ready in ${dataDir} within ${START_MS_MAX / 1_000} s`)
    }
    if (nowMs - toldMs < STILL_STARTING_MS) continue
    toldMs = nowMs
    log('PostgreSQL is still starting, or recovering from a crash', { pid: child.pid })
  }
}

const LOG_BYTES_MAX = 1_000_000
const LOG_LINES_SHOWN = 8

/** Opens PostgreSQL's log for appending; the one before is kept once. */
function openLog(dataDir: string): number {
  const path = join(dataDir, 'postgres.log')
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size > LOG_BYTES_MAX) renameSync(path, `${path}.1`)
  const handle = openSync(path, 'a', 0o600)
  giveToOwner(dataDir, path)
  return handle
}

function logSince(dataDir: string, offset: number): string {
  const text = readFileSync(join(dataDir, 'postgres.log')).subarray(offset).toString()
  return text.trim().split('\n').slice(-LOG_LINES_SHOWN).join('\n')
}
