import type { Timer } from '../src/base/clock.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { QueueCatalog } from '../src/kernel/queue.ts'
import { COUNTED_MAX, queueStats } from './admin/index.ts'

/**
 * How a try ended: `returned` because the server stops, `postponed` by the handler itself, `lost`
 * to another worker.
 */
export type JobOutcome = 'done' | 'failed' | 'dead' | 'lost' | 'returned' | 'postponed'

/** Notes a try. */
export type ObserveTry = (queue: string, outcome: JobOutcome, durationMs: number) => void

const SAMPLE_MS = 5_000
const SECONDS = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 600]

/** Metrics of tries and of their punctuality. */
export function observeTries({ metrics }: Kernel): {
  readonly started: (queue: string, lateMs: number) => void
  readonly ended: ObserveTry
} {
  const late = metrics.histogram(
    'queue_start_delay_seconds',
    'From the time at which a job is due to its start',
    ['queue'],
    SECONDS,
  )
  const duration = metrics.histogram(
    'queue_job_duration_seconds',
    'From the start of a try to its end',
    ['queue'],
    SECONDS,
  )
  const tries = metrics.counter('queue_tries_total', 'Tries of jobs by their end', [
    'queue',
    'outcome',
  ])
  return {
    started: (queue, lateMs) => late.labels({ queue }).observe(lateMs / 1000),
    ended(queue, outcome, durationMs) {
      duration.labels({ queue }).observe(durationMs / 1000)
      tries.labels({ queue, outcome }).inc()
    },
  }
}

/** Measures how much waits, every few seconds; cancel it at the end. */
export function observeQueues(kernel: Kernel): Timer {
  const { clock, db, log, metrics } = kernel
  const queues = [...kernel.use(QueueCatalog).keys()]
  const jobs = metrics.gauge('queue_jobs', `Jobs by state, each up to ${COUNTED_MAX}`, [
    'queue',
    'state',
  ])
  const oldest = metrics.gauge(
    'queue_oldest_due_seconds',
    'How long the oldest due job of a queue has been waiting to be started',
    ['queue'],
  )
  const sample = async () => {
    const rows = await queueStats(db.sql, queues)
    for (const { queue, oldestDueSeconds, due, later, failed, running, dead } of rows) {
      oldest.labels({ queue }).set(oldestDueSeconds)
      const states = { due, later, failed, running, dead }
      for (const [state, count] of Object.entries(states)) jobs.labels({ queue, state }).set(count)
    }
  }
  return clock.setInterval(() => {
    sample().catch((error: unknown) => log.debug('queues not measured', { error }))
  }, SAMPLE_MS)
}
