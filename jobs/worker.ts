import { uuidv7 } from '../src/base/ids.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { QueueCatalog } from '../src/kernel/queue.ts'
import { Capacity } from './capacity.ts'
import { Dispatcher } from './dispatcher.ts'
import { Leases } from './leases.ts'
import { observeQueues } from './queue-metrics.ts'
import { GRACE_MS, Runner } from './runner.ts'

/** Works off the queues of all features until it is stopped. */
export interface Worker {
  /** Its id in the leases. */
  readonly id: string
  /** Looks for due jobs now. */
  kick(): void
  /** Jobs that run here. */
  running(): number
  /** Takes no more, waits a while for what runs, aborts the rest and gives it back. */
  stop(): Promise<void>
}

export interface WorkerOptions {
  /** Only this process can be on this database: whatever is leased is an orphan. */
  readonly alone?: boolean
  /** How long after its last sign of life its jobs may be taken over, in ms. */
  readonly leaseMs?: number
  /** How long `stop` waits for what runs before it aborts it, in ms. */
  readonly drainMs?: number
}

/** A silent instance's jobs are taken over after this. */
const LEASE_MS = 8_000
/** Signs of life in the time of one lease. */
const BEATS = 4
const DRAIN_MS = 5_000

/**
 * Starts a worker for the queues of all features.
 * @throws when the database cannot be reached
 */
export async function startWorker(kernel: Kernel, options: WorkerOptions = {}): Promise<Worker> {
  const { clock, log, queues } = kernel
  const { leaseMs = LEASE_MS, drainMs = DRAIN_MS, alone = false } = options
  const id = uuidv7()
  const leases = new Leases(kernel.db, id, leaseMs)
  const capacity = new Capacity(kernel.use(QueueCatalog).values(), () => dispatcher.fill())
  const runner = new Runner({ kernel, workerId: id, leases, capacity })
  const dispatcher = new Dispatcher({ kernel, leases, capacity, runner })

  await leases.beat()
  if (alone) await leases.alone()
  const beating = clock.setInterval(() => {
    leases.beat().then(
      () => dispatcher.reconcile(),
      (error: unknown) => log.debug('no sign of life written', { error }),
    )
  }, leaseMs / BEATS)
  const metrics = observeQueues(kernel)
  queues.onCommitted(() => dispatcher.look())
  dispatcher.start()
  return {
    id,
    kick: () => dispatcher.look(),
    running: () => capacity.running,
    async stop() {
      queues.onCommitted(() => undefined)
      await dispatcher.stop()
      await runner.drain(drainMs, 2 * GRACE_MS)
      beating.cancel()
      metrics.cancel()
      await leases.leave().catch((error: unknown) => log.debug('no good-bye written', { error }))
    },
  }
}
