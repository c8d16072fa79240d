/**
 * `bun run bench:ledger [--rounds 5] [--secs 3] [--scale]`: the ledger beside pgbench's TPC-B on
 * the same embedded, durable PostgreSQL, in interleaved rounds; writes its section of RESULTS.md.
 * `--scale` also measures how the cost of a transfer grows with accounts and transfers.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { SQL } from 'bun'
import { type Database, openDatabase } from '../../db/client.ts'
import { startEmbeddedPostgres } from '../../db/embedded.ts'
import { obtainCredentials } from '../../db/embedded/cluster.ts'
import { superuserUrl } from '../../db/embedded/database.ts'
import { prepareDatabase } from '../../db/roles.ts'
import { systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/observe/log.ts'
import { describeMachine, versionOf } from '../machine.ts'
import { writeSection } from '../sections.ts'
import { asOf, growth } from './growth.ts'
import { processorTime } from './processor.ts'
import { type Book, openBook, WORKLOADS } from './workloads.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    secs: { type: 'string', default: '3' },
    scale: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
})
const ROUNDS = values.quick ? 1 : Number(values.rounds)
const SECONDS = values.quick ? 1 : Number(values.secs)
const CLIENTS = 32

/** One run of one workload. */
interface Run {
  readonly name: string
  readonly perSecond: number
  readonly server: number
  readonly postgres: number
}

async function measure(name: string, postmaster: number, work: () => Promise<number>) {
  const before = processorTime(postmaster)
  const startMs = performance.now()
  const done = await work()
  const seconds = (performance.now() - startMs) / 1000
  const after = processorTime(postmaster)
  const run: Run = {
    name,
    perSecond: done / seconds,
    server: (after.server - before.server) / seconds,
    postgres: (after.postgres - before.postgres) / seconds,
  }
  console.log(`${name}: ${Math.round(run.perSecond)}/s`)
  return run
}

/** pgbench on a database of its own in the same cluster; its own processor time is nobody's. */
async function pgbench(url: URL, args: readonly string[]): Promise<string> {
  const env = { ...process.env, PGPASSWORD: decodeURIComponent(url.password) }
  const where = ['-h', url.hostname, '-p', url.port, '-U', url.username]
  const command = ['pgbench', ...where, ...args, 'pgbench']
  const child = Bun.spawn(command, { env, stdout: 'pipe', stderr: 'pipe' })
  const [output, errors] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ])
  if ((await child.exited) !== 0) throw new Error(errors)
  return output
}

async function transactions(url: URL): Promise<number> {
  const args = ['-n', '-M', 'prepared', '-c', String(CLIENTS), '-j', '2', '-T', String(SECONDS)]
  const output = await pgbench(url, args)
  return Number(/actually processed: (\d+)/.exec(output)?.[1])
}

async function interleaved(book: Book, url: URL, postmaster: number): Promise<Run[]> {
  const floor = Bun.which('pgbench') !== null
  if (floor) {
    const superuser = new SQL({ url: superuserUrl(Number(url.port), credentials()), max: 1 })
    await superuser.unsafe(`create database pgbench owner ${url.username}`)
    await superuser.close()
    await pgbench(url, ['-i', '-q', '-s', '10'])
  }
  const runs: Run[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const turns = WORKLOADS.map(({ name, work }) => () => {
      return measure(name, postmaster, () => work(book, SECONDS))
    })
    if (floor) turns.unshift(() => measure('pgbench', postmaster, () => transactions(url)))
    // Each begins once, so that nobody always follows the same one.
    for (let n = 0; n < turns.length; n++) {
      runs.push(await turns[(n + round) % turns.length]!())
    }
  }
  return runs
}

const median = (numbers: readonly number[]) =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN

function table(runs: readonly Run[]): string {
  const of = (name: string, figure: keyof Omit<Run, 'name'>) =>
    median(runs.filter((run) => run.name === name).map((run) => run[figure]))
  const floor = of('pgbench', 'perSecond')
  const titles = new Map(WORKLOADS.map(({ name, title, wanted }) => [name, { title, wanted }]))
  const names = [...new Set(['pgbench', ...WORKLOADS.map(({ name }) => name)])]
  const rows = names
    .filter((name) => runs.some((run) => run.name === name))
    .map((name) => {
      const { title = 'pgbench TPC-B, scale 10, 32 clients, prepared', wanted = '' } =
        titles.get(name) ?? {}
      const rate = of(name, 'perSecond')
      const cpu = [of(name, 'server'), of(name, 'postgres')].map((n) => n.toFixed(2))
      const ratio = Number.isNaN(floor) ? '' : (rate / floor).toFixed(2)
      return `| ${[title, Math.round(rate), ratio, wanted, ...cpu].join(' | ')} |`
    })
  return [
    '| | transfers/s | × pgbench | wanted | CPU server | CPU Postgres |',
    '| --- | --: | --: | --: | --: | --: |',
    ...rows,
  ].join('\n')
}

async function run(db: Database, url: URL, postmaster: number, version: string): Promise<string> {
  const book = await openBook(db)
  const runs = await interleaved(book, url, postmaster)
  const scale = values.scale ? ' --scale' : ''
  const command = `bun run bench:ledger --rounds ${ROUNDS} --secs ${SECONDS}${scale}`
  const parts = [
    '## Ledger',
    '',
    `Written by \`${command}\` on ${systemClock.iso().slice(0, 10)}.`,
    `Medians of ${ROUNDS} interleaved rounds on the embedded PostgreSQL ${version} with fsync;`,
    `${versionOf('pgbench', '--version') || 'pgbench absent'}. ${describeMachine()}.`,
    '',
    table(runs),
  ]
  if (values.scale) parts.push('', await growth(book, url.href), '', await asOf(book))
  return parts.join('\n')
}

const folder = mkdtempSync(join(tmpdir(), 'rialto-bench-ledger-'))
const dataDir = join(folder, 'postgres')
const credentials = () => obtainCredentials(dataDir, join(dataDir, 'cluster'))
const postgres = await startEmbeddedPostgres({ dataDir })
try {
  const { ownerUrl } = postgres
  const log = createLogger({ level: 'error', clock: systemClock })
  const { url } = await prepareDatabase({ ownerUrl, clock: systemClock, log })
  const db = openDatabase({ url, clock: systemClock, max: 64 })
  const [{ server_version: version }] = await db.sql`show server_version`
  const section = await run(db, new URL(ownerUrl), postgres.pid, version)
  await db.close()
  console.log(`\n${section}`)
  if (!values.quick) writeSection('ledger', section)
} finally {
  await postgres.stop()
  rmSync(folder, { recursive: true, force: true })
}
