import { startWorker } from '../../jobs/worker.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'
import { QueueCatalog } from '../../src/kernel/queue.ts'
import { until } from './wait.ts'

/**
 * Works off the queues of a kernel until nothing is due or runs; what is to be tried again later,
 * or was delayed, stays. Give a frozen clock's kernel `queuesLater` instead of moving its clock:
 * the times of jobs are the database's.
 */
export async function workOff(kernel: Kernel): Promise<void> {
  const worker = await startWorker(kernel)
  try {
    await until(async () => {
      if (worker.running() > 0) return false
      const [row] = await kernel.db.sql`
        select exists (select from queue_jobs where lease_id is not null
          or due_at <= now() and queue in (
            select json_array_elements_text(
              ${JSON.stringify([...kernel.use(QueueCatalog).keys()])}::text::json))) as busy`
      if (row.busy) worker.kick()
      return !row.busy
    }, 'the queues are empty')
  } finally {
    await worker.stop()
  }
}

/** Lets `ms` pass for the jobs that wait. */
export async function queuesLater(kernel: Kernel, ms: number): Promise<void> {
  await kernel.db.sql`update queue_jobs set due_at = due_at - ${ms} * interval '1 millisecond'`
}
