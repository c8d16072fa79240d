import type { Kernel } from '../src/kernel/kernel.ts'
import { type Queue, QueueCatalog } from '../src/kernel/queue.ts'
import type { Capacity, Held } from './capacity.ts'
import { createCompletion } from './completion.ts'
import { DeadlineExceeded, type Ending, endingOf, execute, ServerStopping } from './execution.ts'
import type { ClaimedJob, Leases } from './leases.ts'
import { observeTries } from './queue-metrics.ts'

/** Runs what was claimed, each job to an end that is written down. */
export interface Runner {
  /** @param suspect it was running when its last worker was lost */
  begin(job: ClaimedJob, suspect: boolean): void
  /** Whether a suspect runs in isolation: no other one may begin. */
  isolating(): boolean
  /** Waits for what runs, then aborts it, waits for that, and lets go of the database. */
  drain(waitMs: number, abortMs: number): Promise<void>
}

export interface RunnerParts {
  readonly kernel: Kernel
  readonly workerId: string
  readonly leases: Leases
  readonly capacity: Capacity
}

/** How long an aborted handler may take to notice, in ms. */
export const GRACE_MS = 2_000
/**
 * A job taken over may be what ended its last process. What ran beside it there is taken over as
 * well; so for this long, in ms, none of them runs beside another, and the guilty one dies alone.
 */
const ISOLATION_MS = 5_000

/** Makes the runner of a worker. */
export function createRunner({ kernel, workerId, leases, capacity }: RunnerParts): Runner {
  const { clock, log } = kernel
  const queues = kernel.use(QueueCatalog)
  const completion = createCompletion(kernel, leases, capacity)
  const observe = observeTries(kernel)
  const working = new Set<Promise<void>>()
  let isolated: Held | undefined

  const isolate = (held: Held) => {
    isolated = held
    clock.setTimeout(() => release(held), ISOLATION_MS)
  }
  const release = (held: Held) => {
    if (isolated === held) isolated = undefined
  }

  /** Resolves when an aborted handler has had its time; from then on it is left to itself. */
  const impatience = ({ job, queue, abort }: Held, work: Promise<Ending>) => {
    const { promise, resolve } = Promise.withResolvers<Ending>()
    const leave = () => {
      log.error('a job does not stop', { queue: queue.name, job: job.id })
      // As long again it is not started beside itself in this process; then that cannot be helped.
      capacity.overrun.add(job.id)
      const forget = () => void capacity.overrun.delete(job.id)
      const limit = clock.setTimeout(forget, queue.deadlineMs)
      void work.then(forget).then(() => limit.cancel())
      resolve(endingOf(abort.signal.reason))
    }
    const onAbort = () => {
      const grace = clock.setTimeout(leave, GRACE_MS)
      void work.then(() => grace.cancel())
    }
    abort.signal.addEventListener('abort', onAbort, { once: true })
    return promise
  }

  const attempt = async (held: Held): Promise<Ending> => {
    const { job, queue, abort } = held
    const deadline = clock.setTimeout(
      () => abort.abort(new DeadlineExceeded(`Took longer than ${queue.deadlineMs} ms`)),
      queue.deadlineMs,
    )
    const work = execute(kernel, queue, job, workerId, abort.signal)
    const ending = await Promise.race([work, impatience(held, work)])
    deadline.cancel()
    release(held)
    return ending
  }

  const run = async (held: Held): Promise<void> => {
    const { job, queue, startMs } = held
    if (job.attempt > queue.triesMax) {
      observe.ended(queue.name, await completion.buryLost(held), 0)
      release(held)
      return
    }
    observe.started(queue.name, job.lateMs)
    const ending = await attempt(held)
    const endMs = clock.monotonicMs()
    observe.ended(queue.name, await completion.record(held, ending), endMs - startMs)
  }

  return {
    isolating: () => isolated !== undefined,
    begin(job, suspect) {
      const queue = queues.get(job.queue) as Queue
      const startMs = clock.monotonicMs()
      const held = { job, queue, startMs, abort: new AbortController(), running: true }
      capacity.take(held)
      if (suspect) isolate(held)
      const work = run(held).finally(() => working.delete(work))
      working.add(work)
    },
    async drain(waitMs, abortMs) {
      const all = () => Promise.all(working)
      await Promise.race([all(), clock.sleep(waitMs)])
      for (const { abort } of capacity.held.values())
        abort.abort(new ServerStopping('Server stopping'))
      await Promise.race([all(), clock.sleep(abortMs)])
      completion.abandon()
    },
  }
}
