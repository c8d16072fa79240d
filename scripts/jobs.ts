/**
 * The scheduled jobs by hand, on the configured database and without a server:
 *
 *     bun run jobs list
 *     bun run jobs run NAME [--dry-run]
 */

import { parseArgs } from 'node:util'
import { timesOf } from '../jobs/periods.ts'
import { schedule } from '../jobs/schedule.ts'
import { systemClock } from '../src/base/clock.ts'
import type { JobReport } from '../src/kernel/job.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { createLogger } from '../src/observe/log.ts'
import { offlineKernel, productConfig } from './offline-kernel.ts'

const USAGE = `usage: bun run jobs list
       bun run jobs run NAME [--dry-run]`

type Command =
  | { readonly do: 'list' }
  | { readonly do: 'run'; readonly name: string; readonly dryRun: boolean }

function commandOf(args: readonly string[]): Command {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { 'dry-run': { type: 'boolean', default: false } },
  })
  const [verb, name, ...more] = positionals
  const dryRun = values['dry-run']
  if (verb === 'list' && name === undefined && !dryRun) return { do: 'list' }
  if (verb === 'run' && name !== undefined && more.length === 0) return { do: 'run', name, dryRun }
  throw new Error(USAGE)
}

const minute = (date: Date | undefined) =>
  date === undefined ? 'never' : date.toISOString().slice(0, 16).replace('T', ' ')

async function list({ db, clock }: Kernel): Promise<void> {
  const rows = await db.sql<{ job: string; at: Date }[]>`
    select job, max(done_at) as at from job_periods where done_at is not null group by job`
  const done = new Map(rows.map(({ job, at }) => [job, at]))
  const table = schedule.map(({ job, at }) => {
    const next = timesOf(at).next(clock.now())
    const times = [minute(done.get(job.name)), minute(next === undefined ? next : new Date(next))]
    return [job.name, at, ...times, job.description.replaceAll(/\s+/g, ' ')]
  })
  const lines = [['JOB', 'AT (UTC)', 'LAST DONE', 'NEXT', 'WHAT'], ...table]
  const widths = [0, 1, 2, 3].map((n) => Math.max(...lines.map((line) => line[n]?.length ?? 0)))
  for (const line of lines) {
    console.log(line.map((cell, n) => cell.padEnd(widths[n] ?? 0)).join('  '))
  }
}

const inNumbers = (report: JobReport | void) =>
  Object.entries(report ?? {})
    .map(([what, count]) => `  ${what} ${count}`)
    .join('\n') || '  nothing to report'

async function run(kernel: Kernel, name: string, dryRun: boolean): Promise<void> {
  const found = jobOf(name)
  if (!dryRun) {
    console.log(`${name} has done:\n${inNumbers(await found.run(kernel))}`)
    return
  }
  if (found.dryRun === undefined) throw new Error(`${name} cannot say beforehand what it would do`)
  console.log(`${name} would do (nothing was changed):\n${inNumbers(await found.dryRun(kernel))}`)
}

function jobOf(name: string) {
  const found = schedule.find(({ job }) => job.name === name)
  if (found !== undefined) return found.job
  const names = schedule.map(({ job }) => job.name).join(', ')
  throw new Error(`no job is called ${name}; there are ${names}`)
}

async function main(): Promise<void> {
  const command = commandOf(process.argv.slice(2))
  // A wrong name is said before a database is opened.
  if (command.do === 'run') jobOf(command.name)
  const log = createLogger({ level: 'error', clock: systemClock })
  const { kernel, stop } = await offlineKernel(productConfig(), log)
  try {
    if (command.do === 'list') await list(kernel)
    else await run(kernel, command.name, command.dryRun)
  } finally {
    await stop()
  }
}

await main().then(
  () => process.exit(0),
  (error: Error) => {
    console.error(`jobs: ${error.message}`)
    process.exit(1)
  },
)
