import { t } from '../src/base/schema.ts'
import type { Job } from '../src/kernel/job.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { Hopeless, type PerformContext, Postponed, type Queue, queue } from '../src/kernel/queue.ts'
import type { Scheduled } from './schedule.ts'

const Run = t.Object({
  job: t.String({ description: 'Name of the job' }),
  period: t.String({ format: 'date-time', description: 'The time that it runs for' }),
})
export type ScheduleQueue = Queue<typeof Run>

/** Runs of one job do not overlap here: the next one looks again after this, in ms. */
const OVERLAP_MS = 1_000
/** A job that this version does not know may be a newer one's: left to that so long, in ms. */
const UNKNOWN_MS = 60_000
const UNKNOWN_MS_MAX = 86_400_000

/** The queue through which the jobs of a schedule run. */
export function scheduleQueue(schedule: readonly Scheduled[]): ScheduleQueue {
  const jobs = new Map(schedule.map(({ job }) => [job.name, job]))
  const running = new Set<string>()
  return queue('schedule', {
    description: 'Runs of the scheduled jobs',
    payload: Run,
    concurrency: 4,
    deadlineMs: 15 * 60_000,
    triesMax: 5,
    backoffMs: 30_000,
    async perform(ctx, { job: name }) {
      const job = jobs.get(name) ?? unknown(ctx, name)
      if (running.has(name)) throw new Postponed(OVERLAP_MS, `${name} still runs`)
      running.add(name)
      try {
        await run(ctx, job)
      } finally {
        running.delete(name)
      }
    },
  })
}

function unknown({ kernel, job }: PerformContext, name: string): never {
  if (kernel.clock.now() - job.enqueuedAtMs > UNKNOWN_MS_MAX) {
    throw new Hopeless(`No job is called ${name}`)
  }
  throw new Postponed(UNKNOWN_MS, `No job is called ${name} in this version`)
}

async function run({ kernel, signal }: PerformContext, { name, run: work }: Job): Promise<void> {
  const { clock, db, log } = kernel
  const observed = observeRuns(kernel)
  const startMs = clock.monotonicMs()
  const [start] = await db.sql`select clock_timestamp() as at`
  try {
    const report = await work(kernel, signal)
    // All times that came before the start are seen to, also those that were merged into this run.
    await db.sql`
      update job_periods set done_at = clock_timestamp()
      where job = ${name} and state = 'enqueued' and done_at is null and inserted_at <= ${start.at}`
    observed.ended(name, 'ok')
    log.info('job done', { job: name, ms: Math.round(clock.monotonicMs() - startMs), ...report })
  } catch (error) {
    observed.ended(name, 'failed')
    throw error
  }
}

/** Metrics of the schedule. */
export function observeRuns({ clock, db, metrics }: Kernel) {
  const runs = metrics.counter('job_runs_total', 'Runs of scheduled jobs', ['job', 'outcome'])
  const success = metrics.gauge(
    'job_last_success_timestamp_seconds',
    'When a scheduled job last came to its end, on any instance',
    ['job'],
  )
  return {
    ended(job: string, outcome: 'ok' | 'failed') {
      runs.labels({ job, outcome }).inc()
      if (outcome === 'ok') success.labels({ job }).set(clock.now() / 1000)
    },
    /** Takes over what other instances have done. */
    async refresh(): Promise<void> {
      const rows = await db.sql<{ job: string; at: number }[]>`
        select job, extract(epoch from max(done_at))::float8 as at from job_periods
        where done_at is not null group by job`
      for (const { job, at } of rows) success.labels({ job }).set(at)
    },
  }
}
