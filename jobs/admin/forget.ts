import { retention } from '../../src/kernel/retention.ts'

const DAY_MS = 86_400_000

/** Forgets what nobody looks at any more. */
export const forgetOld = retention(
  'queues.forget_old',
  'Deletes dead letters and times of scheduled jobs after 30 days, and workers long gone',
  [
    { table: 'dead_letters', column: 'died_at', keptMs: 30 * DAY_MS },
    {
      table: 'job_periods',
      column: 'period',
      keptMs: 30 * DAY_MS,
      // The latest time of a job says that it is not a new one.
      where: 'period < (select max(p.period) from job_periods p where p.job = job_periods.job)',
    },
    { table: 'queue_workers', column: 'alive_until', keptMs: DAY_MS },
  ],
)
