/**
 * What the queue does: `bun run bench:queue [--jobs 20000] [--concurrency 8] [--rounds 3]`.
 *
 * First throughput: so many jobs, enqueued in transactions of a hundred, and worked off by one
 * worker, from the first insert to the last end; for both forms, each with one row as its effect,
 * and without an effect. Then punctuality on an idle machine: from the moment at which a job
 * is due to the start of its handler, for jobs that are committed here, by another instance, and
 * with a delay. PostgreSQL is the embedded one with its defaults (fsync on), in a temporary folder.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { SQL } from 'bun'
import { startEmbeddedPostgres } from '../db/embedded.ts'
import { startWorker } from '../jobs/worker.ts'
import { offlineKernel } from '../scripts/offline-kernel.ts'
import { systemClock } from '../src/base/clock.ts'
import { t } from '../src/base/schema.ts'
import { loadConfig } from '../src/config.ts'
import { internalRequest } from '../src/kernel/access.ts'
import type { EnqueueOptions } from '../src/kernel/effects.ts'
import { feature } from '../src/kernel/feature.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { queue } from '../src/kernel/queue.ts'
import { unitOfWork } from '../src/kernel/write.ts'
import { createLogger } from '../src/observe/log.ts'
import { describeMachine } from './machine.ts'

const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: '20000' },
    concurrency: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '3' },
    starts: { type: 'string', default: '300' },
  },
})
const [jobs, concurrency, rounds, starts] = [
  Number(values.jobs),
  Number(values.concurrency),
  Number(values.rounds),
  Number(values.starts),
]
/** Jobs enqueued by one transaction. */
const AT_ONCE = 100
/** Transactions that enqueue at the same time. */
const ENQUEUERS = 4

let ended = 0
let started: (text: string) => void = () => undefined
const common = {
  description: 'Work of the bench',
  payload: t.Object({ text: t.String() }),
  concurrency,
  deadlineMs: 30_000,
  triesMax: 3,
  backoffMs: 1_000,
}
const inside = queue('bench.inside', {
  ...common,
  async handle({ tx, afterCommit }, { text }) {
    started(text)
    await tx.sql`insert into bench_effects (text) values (${text})`
    afterCommit(() => ended++)
  },
})
const outside = queue('bench.outside', {
  ...common,
  async perform({ kernel }, { text }) {
    await kernel.db.sql`insert into bench_effects (text) values (${text})`
    ended++
  },
})
const empty = queue('bench.empty', {
  ...common,
  async perform() {
    await Promise.resolve()
    ended++
  },
})
const LINES = [inside, outside, empty]

function enqueue(kernel: Kernel, line: typeof inside, count: number, options?: EnqueueOptions) {
  const who = { actor: null, request: internalRequest('bench') }
  return unitOfWork(kernel, who, async (ctx) => {
    await Promise.resolve()
    for (let n = 0; n < count; n++) ctx.enqueue(line, { text: `${n}` }, options)
  })
}

/** Jobs a second, from the first insert to the last end. */
async function throughput(kernel: Kernel, line: typeof inside): Promise<number> {
  ended = 0
  const worker = await startWorker(kernel)
  const startMs = performance.now()
  let left = jobs
  const enqueuer = async () => {
    while (left > 0) {
      const count = Math.min(AT_ONCE, left)
      left -= count
      await enqueue(kernel, line, count)
    }
  }
  await Promise.all(Array.from({ length: ENQUEUERS }, enqueuer))
  while (ended < jobs) await Bun.sleep(1)
  const seconds = (performance.now() - startMs) / 1000
  await worker.stop()
  const [row] = await kernel.db.sql`select count(*)::int as left from queue_jobs`
  if (row.left !== 0) throw new Error(`${row.left} jobs are left`)
  return jobs / seconds
}

type Commit = 'here' | 'elsewhere' | 'delayed'

/** Milliseconds from the moment at which jobs are due to their starts, one at a time. */
async function delays(kernel: Kernel, commit: Commit): Promise<number[]> {
  const worker = await startWorker(kernel)
  if (commit === 'elsewhere') kernel.queues.onCommitted(() => undefined)
  const delayMs = commit === 'delayed' ? 300 : 0
  const late: number[] = []
  for (let n = 0; n < starts / (commit === 'delayed' ? 3 : 1); n++) {
    const start = Promise.withResolvers<number>()
    started = () => start.resolve(performance.now())
    await enqueue(kernel, inside, 1, { delayMs })
    const dueMs = performance.now() + delayMs
    late.push((await start.promise) - dueMs)
    await Bun.sleep(Math.random() * 40)
  }
  started = () => undefined
  await worker.stop()
  return late.toSorted((a, b) => a - b)
}

const quantile = (sorted: readonly number[], q: number) =>
  (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN).toFixed(1)
const median = (of: readonly number[]) => of.toSorted((a, b) => a - b)[of.length >> 1] ?? Number.NaN

async function bench(kernel: Kernel): Promise<void> {
  const rates = new Map(LINES.map((line) => [line, [] as number[]]))
  await throughput(kernel, inside)
  for (let round = 0; round < rounds; round++) {
    for (const line of round % 2 === 0 ? LINES : LINES.toReversed()) {
      rates.get(line)?.push(await throughput(kernel, line))
    }
  }
  console.log(`\n${jobs} jobs, concurrency ${concurrency}, median of ${rounds}, jobs/s:`)
  console.log(
    `  handle, one row in its transaction  ${Math.round(median(rates.get(inside) ?? []))}`,
  )
  console.log(
    `  perform, one row outside            ${Math.round(median(rates.get(outside) ?? []))}`,
  )
  console.log(`  perform, no effect                  ${Math.round(median(rates.get(empty) ?? []))}`)
  console.log('\nfrom due to the start of the handler, ms:        p50      p99      max')
  for (const commit of ['here', 'elsewhere', 'delayed'] as const) {
    const late = await delays(kernel, commit)
    const cells = [quantile(late, 0.5), quantile(late, 0.99), quantile(late, 1)]
    const text = cells.map((cell) => cell.padStart(8)).join(' ')
    console.log(`  ${`committed ${commit}`.padEnd(42)} ${text}`)
  }
}

const folder = mkdtempSync(join(tmpdir(), 'rialto-bench-queue-'))
const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres') })
try {
  const env = {
    NODE_ENV: 'test',
    DATA_DIR: folder,
    DATABASE_URL: postgres.ownerUrl,
    JWT_SECRET: 'only-for-the-bench-0123456789abcdef',
    MASTER_ENCRYPTION_KEY: '00'.repeat(32),
  }
  const config = loadConfig({ env, cwd: folder })
  const log = createLogger({ level: 'error', clock: systemClock })
  const features = [feature({ name: 'bench', queues: LINES })]
  const { kernel, stop } = await offlineKernel(config, log, [], features)
  const owner = new SQL({ url: postgres.ownerUrl, max: 1 })
  const [{ server_version: version }] = await owner`show server_version`
  await owner.unsafe('create table bench_effects (text text); grant all on bench_effects to public')
  await owner.close()
  console.log(`${describeMachine()}; Bun ${Bun.version}, PostgreSQL ${version}`)
  try {
    await bench(kernel)
  } finally {
    await stop()
  }
} finally {
  await postgres.stop()
  rmSync(folder, { recursive: true, force: true })
}
process.exit(0)
