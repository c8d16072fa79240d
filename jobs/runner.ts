import type { Kernel } from '../src/kernel/kernel.ts'
import { type Queue, QueueCatalog } from '../src/kernel/queue.ts'
import type { Capacity, Held } from './capacity.ts'
import { Completion } from './completion.ts'
import { DeadlineExceeded, type Ending, endingOf, execute, ServerStopping } from './execution.ts'
import type { ClaimedJob, Leases } from './leases.ts'
import { observeTries } from './queue-metrics.ts'

/** How long an aborted handler may take to notice, in ms. */
export const GRACE_MS = 2_000
/**
 * A job taken over may be what ended its last process. What ran beside it there is taken over as
 * well; so for this long, in ms, none of them runs beside another, and the guilty one dies alone.
 */
const ISOLATION_MS = 5_000

/** What a runner works with. */
export interface RunnerParts {
  readonly kernel: Kernel
  readonly workerId: string
  readonly leases: Leases
  readonly capacity: Capacity
}

/** Runs what was claimed, each job to an end that is written down. */
export class Runner {
  readonly #kernel: Kernel
  readonly #workerId: string
  readonly #capacity: Capacity
  readonly #completion: Completion
  readonly #queues: ReadonlyMap<string, Queue>
  readonly #observe: ReturnType<typeof observeTries>
  readonly #working = new Set<Promise<void>>()
  #isolated: Held | undefined

  constructor({ kernel, workerId, leases, capacity }: RunnerParts) {
    this.#kernel = kernel
    this.#workerId = workerId
    this.#capacity = capacity
    this.#completion = new Completion(kernel, leases, capacity)
    this.#queues = kernel.use(QueueCatalog)
    this.#observe = observeTries(kernel)
  }

  /** Whether a suspect runs in isolation: no other one may begin. */
  isolating(): boolean {
    return this.#isolated !== undefined
  }

  /** @param suspect it was running when its last worker was lost */
  begin(job: ClaimedJob, suspect: boolean): void {
    const queue = this.#queues.get(job.queue) as Queue
    const startMs = this.#kernel.clock.monotonicMs()
    const held = { job, queue, startMs, abort: new AbortController(), running: true }
    this.#capacity.take(held)
    if (suspect) this.#isolate(held)
    const work = this.#run(held).finally(() => this.#working.delete(work))
    this.#working.add(work)
  }

  /** Waits for what runs, then aborts it, waits for that, and lets go of the database. */
  async drain(waitMs: number, abortMs: number): Promise<void> {
    const { clock } = this.#kernel
    const all = () => Promise.all(this.#working)
    await Promise.race([all(), clock.sleep(waitMs)])
    for (const { abort } of this.#capacity.held.values()) {
      abort.abort(new ServerStopping('Server stopping'))
    }
    await Promise.race([all(), clock.sleep(abortMs)])
    this.#completion.abandon()
  }

  #isolate(held: Held): void {
    this.#isolated = held
    this.#kernel.clock.setTimeout(() => this.#release(held), ISOLATION_MS)
  }

  #release(held: Held): void {
    if (this.#isolated === held) this.#isolated = undefined
  }

  async #run(held: Held): Promise<void> {
    const { job, queue, startMs } = held
    if (job.attempt > queue.triesMax) {
      this.#observe.ended(queue.name, await this.#completion.buryLost(held), 0)
      this.#release(held)
      return
    }
    this.#observe.started(queue.name, job.lateMs)
    const ending = await this.#attempt(held)
    const endMs = this.#kernel.clock.monotonicMs()
    const outcome = await this.#completion.record(held, ending)
    this.#observe.ended(queue.name, outcome, endMs - startMs)
  }

  async #attempt(held: Held): Promise<Ending> {
    const { job, queue, abort } = held
    const deadline = this.#kernel.clock.setTimeout(
      () => abort.abort(new DeadlineExceeded(`Took longer than ${queue.deadlineMs} ms`)),
      queue.deadlineMs,
    )
    const work = execute(this.#kernel, queue, job, this.#workerId, abort.signal)
    const ending = await Promise.race([work, this.#overrun(held, work)])
    deadline.cancel()
    this.#release(held)
    return ending
  }

  /** Resolves when an aborted handler has had its time; from then on it is left to itself. */
  #overrun({ job, queue, abort }: Held, work: Promise<Ending>): Promise<Ending> {
    const { clock, log } = this.#kernel
    const { overrun } = this.#capacity
    const { promise, resolve } = Promise.withResolvers<Ending>()
    const leave = () => {
      log.error('a job does not stop', { queue: queue.name, job: job.id })
      // As long again it is not started beside itself in this process; then that cannot be helped.
      overrun.add(job.id)
      const forget = () => void overrun.delete(job.id)
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
}
