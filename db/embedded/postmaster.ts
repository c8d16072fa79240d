import { readFileSync, readlinkSync, realpathSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Binaries } from './binaries.ts'
import { runProgram } from './program.ts'

/** PostgreSQL's own record of its running server. */
export interface PidFile {
  readonly pid: number
  readonly port: number
  /** Accepting connections. */
  readonly ready: boolean
}

/** Reads `postmaster.pid`; undefined when there is none, or not yet a whole one. */
export function readPidFile(cluster: string): PidFile | undefined {
  try {
    const lines = readFileSync(join(cluster, 'postmaster.pid'), 'utf8').split('\n')
    const [pid, port] = [Number(lines[0]), Number(lines[3])]
    if (!Number.isInteger(pid) || pid <= 0) return undefined
    return { pid, port, ready: lines[7]?.trim() === 'ready' }
  } catch {
    return undefined
  }
}

/** The arguments that the last server of a cluster was started with. */
export function lastArguments(cluster: string): string[] {
  try {
    const line = readFileSync(join(cluster, 'postmaster.opts'), 'utf8')
    return [...line.matchAll(/"([^"]*)"/g)].map((match) => match[1]!)
  } catch {
    return []
  }
}

/** Whether a process runs; a zombie, which nobody has collected yet, does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as { code?: string }).code === 'ESRCH') return false
  }
  if (process.platform !== 'linux') return true
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
  } catch {
    return false
  }
}

/** What the process with the id in a pid file is. */
export type Identity =
  /** The PostgreSQL of this cluster, from the binaries that are still there. */
  | 'ours'
  /** The same, from binaries that were replaced meanwhile. */
  | 'outdated'
  /** Another program that was given the same id later. */
  | 'foreign'

/** Who a live process is, as the operating system sees it. */
export function identify(pid: number, cluster: string): Identity {
  try {
    if (process.platform === 'linux') {
      const program = basename(readlinkSync(`/proc/${pid}/exe`))
      if (!/^postgres( \(deleted\))?$/.test(program)) return 'foreign'
      if (readlinkSync(`/proc/${pid}/cwd`) !== realpathSync(cluster)) return 'foreign'
      return program === 'postgres' ? 'ours' : 'outdated'
    }
    if (process.platform === 'win32') return 'ours'
    const { output } = runProgram(['ps', '-ww', '-o', 'command=', '-p', String(pid)], {})
    return output.includes('postgres') && output.includes(cluster) ? 'ours' : 'foreign'
  } catch {
    return 'foreign'
  }
}

/**
 * Marks a pid file as left by a dead process, where its id now belongs to another program, which
 * PostgreSQL would mistake for itself. Only the id changes: by the rest PostgreSQL still checks
 * that no back end of the dead server is at work.
 */
export function disownPidFile(cluster: string): void {
  const path = join(cluster, 'postmaster.pid')
  const lines = readFileSync(path, 'utf8').split('\n')
  lines[0] = String(PID_NEVER_USED)
  writeFileSync(path, lines.join('\n'))
}

/** Above the highest process id that Linux (2^22) and Darwin (99,998) give. */
const PID_NEVER_USED = 2 ** 30

const FAST_SHUTDOWN_MS_MAX = 10_000
const QUIT_MS_MAX = 5_000
const POLL_MS = 5

/**
 * Stops PostgreSQL: fast (sessions end, everything is written), and if that takes too long at once
 * (the next start recovers from the log). Does nothing when it is not running.
 *
 * @throws Error when it still runs after that
 */
export async function stopPostmaster(pid: number, binaries: Binaries): Promise<void> {
  for (const [signal, deadlineMs] of [
    ['INT', FAST_SHUTDOWN_MS_MAX],
    ['QUIT', QUIT_MS_MAX],
  ] as const) {
    sendSignal(pid, signal, binaries)
    for (let waitedMs = 0; waitedMs < deadlineMs; waitedMs += POLL_MS) {
      if (!isAlive(pid)) return
      await Bun.sleep(POLL_MS)
    }
  }
  throw new Error(`PostgreSQL (process ${pid}) did not stop within 15 s`)
}

/** Signals PostgreSQL; on Windows by its own way, because signals there just kill. */
export function sendSignal(pid: number, signal: 'INT' | 'QUIT', binaries: Binaries): void {
  if (process.platform === 'win32') {
    runProgram([binaries.pgCtl, 'kill', signal, String(pid)], { cwd: '.' })
    return
  }
  try {
    process.kill(pid, `SIG${signal}`)
  } catch (error) {
    if ((error as { code?: string }).code !== 'ESRCH') throw error
  }
}
