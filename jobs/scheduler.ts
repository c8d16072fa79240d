import { Cron } from 'croner'
import type { Kernel } from '../src/kernel/kernel.ts'
import type { Scheduled } from './schedule.ts'

/** Runs jobs at their times; returns how to stop. Runs of one job never overlap. */
export function startScheduler(kernel: Kernel, schedule: readonly Scheduled[]): () => void {
  const runs = kernel.metrics.counter('job_runs_total', 'Runs of scheduled jobs', [
    'job',
    'outcome',
  ])
  const crons = schedule.map(({ job, at }) => {
    const options = {
      name: `${kernel.config.port}-${job.name}-${kernel.clock.monotonicMs()}`,
      timezone: 'UTC',
      // Without these, runs overlap and a rejection ends the process.
      protect: true,
      unref: true,
      catch: (error: unknown) => {
        runs.labels({ job: job.name, outcome: 'failed' }).inc()
        kernel.log.error('job failed', { job: job.name, error })
      },
    }
    return new Cron(at, options, async () => {
      await job.run(kernel)
      runs.labels({ job: job.name, outcome: 'ok' }).inc()
    })
  })
  return () => {
    for (const cron of crons) cron.stop()
  }
}
