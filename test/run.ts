/**
 * `npm test [-- arguments of bun test]`: the tests in two runs. Most files run side by side, each
 * with databases of its own on one PostgreSQL for the run; the few of `ALONE` follow, one after
 * another, while nothing else runs. Why: docs/decisions/018-tests-in-parallel.md.
 */

import { availableParallelism, constants } from 'node:os'
import { join } from 'node:path'

const project = join(import.meta.dir, '..')
const TIMINGS = 'test/timings.json'
/**
 * Many tests wait for time to pass, so that more files than cores keep the cores busy; not more
 * than the connections of one PostgreSQL are enough for.
 */
const WORKERS = Math.min(availableParallelism() + 2, 6)

/** What does not bear company, and why not. */
export const ALONE: Readonly<Record<string, string>> = {
  'test/audit/sealing.test.ts': 'kills PostgreSQL; a line is sealed within a second',
  'test/auth/passwords.test.ts': 'compares how long hashes take',
  'test/faults/database-restart.test.ts': 'kills PostgreSQL under load; serving again in 10 s',
  'test/faults/dead-sockets.test.ts': 'silent sockets are closed within a second and a half',
  'test/faults/instance-crash.test.ts': 'kills servers; the others know within a second',
  'test/faults/ledger-kill.test.ts': 'kills PostgreSQL at moments that chance picks',
  'test/faults/limits.test.ts': 'kills PostgreSQL; an ended key is refused within a second',
  'test/faults/order.test.ts': 'compares latencies before and during a stall',
  'test/faults/queue-restart.test.ts': 'kills PostgreSQL under a worker',
  'test/faults/redis.test.ts': 'a revocation is known within a second',
  'test/jobs/worker.test.ts': 'jobs start within 90 to 200 ms',
  'test/security/enumeration.test.ts': 'compares how long answers take',
  'test/observe/log.test.ts': 'the event loop stands still for at most 300 ms',
  'test/observe/redact.test.ts': 'patterns answer within 50 ms',
}

/** Options of `bun test` whose value is the next argument, and so no file. */
const WITH_VALUE = ['-t', '--test-name-pattern', '--timeout', '--seed', '--rerun-each', '--retry']

/** What looks at all tests at once, or measures them: one run, one file after another. */
const AS_ONE = /^(-t$|--(test-name-pattern|coverage|reporter|randomize|bail|only)\b)/

/** The runs that some arguments ask for: what files, and how many of them side by side. */
export function plan(files: readonly string[], args: readonly string[], full: boolean) {
  const isWord = (arg: string, n: number) =>
    !arg.startsWith('-') && !WITH_VALUE.includes(args[n - 1] ?? '')
  const words = args.filter(isWord)
  const options = args.filter((arg, n) => !isWord(arg, n))
  const paths = words.map((word) => word.replace(/^\.\//, ''))
  const chosen = files.filter((file) => words.length === 0 || paths.some((p) => file.includes(p)))
  if (chosen.length === 0) throw new Error(`no test file has ${words.join(' or ')} in its path`)
  const company = chosen.filter((file) => !(file in ALONE))
  const one = full || company.length < 2 || args.some((arg) => AS_ONE.test(arg))
  const runs = one ? [chosen] : [company, chosen.filter((file) => file in ALONE)]
  return { runs: runs.filter((run) => run.length > 0), options, sideBySide: !one }
}

let interruption: NodeJS.Signals | undefined
let running: Bun.Subprocess | undefined
function interrupt(signal: NodeJS.Signals): void {
  interruption = signal
  running?.kill(signal)
}

/** Runs `bun test` on some files; its exit code. */
async function bunTest(files: string[], options: string[], env: NodeJS.ProcessEnv) {
  const paths = files.map((file) => `./${file}`)
  running = Bun.spawn([process.execPath, '--no-env-file', 'test', ...options, ...paths], {
    cwd: project,
    env,
    stdio: ['inherit', 'inherit', 'inherit'],
  })
  return await running.exited
}

/** The run's PostgreSQL, in a process that ends with this one, however that ends. */
async function startPostgres() {
  const program = join(project, 'test/support/postgres-process.ts')
  const child = Bun.spawn([process.execPath, '--no-env-file', program], {
    cwd: project,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const { value } = await child.stdout.getReader().read()
  const stop = async () => {
    await child.stdin.end()
    await child.exited
  }
  if (value === undefined) throw new Error('the PostgreSQL of the tests did not start')
  return { urls: new TextDecoder().decode(value).trim(), stop }
}

async function main(): Promise<number> {
  const glob = new Bun.Glob('test/**/*.test.ts')
  const files = (await Array.fromAsync(glob.scan(project))).toSorted()
  const full = process.env['FAULTS'] === 'full'
  const { runs, options, sideBySide } = plan(files, process.argv.slice(2), full)
  const common = [`--timings=${TIMINGS}`, ...options]
  if (!sideBySide) return await bunTest(runs[0]!, common, process.env)
  const postgres = await startPostgres()
  let code = 0
  try {
    const env = { ...process.env, RIALTO_TEST_POSTGRES: postgres.urls }
    for (const [n, run] of runs.entries()) {
      if (interruption !== undefined) break
      const together = n === 0 ? [`--parallel=${WORKERS}`, '--no-isolate'] : []
      code = (await bunTest(run, [...common, ...together], env)) || code
    }
  } finally {
    await postgres.stop()
  }
  return code
}

if (import.meta.main) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt)
  const code = await main()
  process.exit(interruption === undefined ? code : 128 + constants.signals[interruption])
}
