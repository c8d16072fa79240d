import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, cpus, release, totalmem } from 'node:os'

/** The core of the server under test; everything else runs on the other one. */
const SERVER_CORE = 0
const OTHER_CORE = 1

/** Share of all cores that may be busy with something else. */
const QUIET_SHARE = 0.35

/** Whether the server can have a core of its own. */
export const canPin = availableParallelism() > 1 && Bun.which('taskset') !== null

/** The command, bound to the server's core where that is possible. */
export function pinned(command: readonly string[]): string[] {
  return canPin ? ['taskset', '-c', String(SERVER_CORE), ...command] : [...command]
}

/** The command on all cores, although this process has left the server's. */
export function onAllCores(command: readonly string[]): string[] {
  return canPin ? ['taskset', '-c', `${SERVER_CORE},${OTHER_CORE}`, ...command] : [...command]
}

/** Leaves the server's core: children (the generator, Postgres) inherit it. */
export function leaveServerCore(): void {
  if (!canPin) return
  Bun.spawnSync(['taskset', '-acp', String(OTHER_CORE), String(process.pid)], { stdout: 'ignore' })
}

/** Waits until the machine is quiet, at most `seconds`. */
export async function waitForQuiet(seconds: number): Promise<void> {
  const until = performance.now() + seconds * 1000
  while (performance.now() < until && (await busyShare()) > QUIET_SHARE);
}

async function busyShare(): Promise<number> {
  const before = coreTicks()
  await Bun.sleep(700)
  const spent = coreTicks().map((ticks, column) => ticks - (before[column] ?? 0))
  const total = spent.reduce((sum, ticks) => sum + ticks, 0)
  const [, , , idle = 0, waiting = 0] = spent
  return 1 - (idle + waiting) / Math.max(1, total)
}

function coreTicks(): number[] {
  const [first = ''] = readFileSync('/proc/stat', 'utf8').split('\n')
  return first.split(/\s+/).slice(1, 9).map(Number)
}

/** Processor seconds of a process so far, by the scheduler's nanoseconds. */
export function processorSeconds(pid: number): number {
  const tasks = `/proc/${pid}/task`
  const nanoseconds = readdirSync(tasks).map((task) => {
    const [ran = ''] = readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')
    return Number(ran)
  })
  return nanoseconds.reduce((sum, ran) => sum + ran, 0) / 1e9
}

/** A TCP port of the loopback that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** One line about the hardware. */
export function describeMachine(): string {
  const gibibytes = Math.round(totalmem() / 2 ** 30)
  const model = cpus()[0]?.model ?? 'unknown processor'
  return `${availableParallelism()} cores of ${model}, ${gibibytes} GiB, Linux ${release()}`
}

/** First line that a command prints, or `absent`. */
export function versionOf(...command: string[]): string {
  if (Bun.which(command[0] ?? '') === null) return 'absent'
  const { stdout } = Bun.spawnSync(command, { stderr: 'ignore' })
  return stdout.toString().split('\n')[0]?.trim() ?? ''
}

/** Version of an installed package, or `absent`. */
export function packageVersion(folder: string): string {
  try {
    const { version } = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'))
    return version
  } catch {
    return 'absent'
  }
}
