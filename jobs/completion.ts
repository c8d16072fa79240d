import type { Kernel } from '../src/kernel/kernel.ts'
import { Hopeless, Postponed } from '../src/kernel/queue.ts'
import { placeOf } from '../src/vault/vault.ts'
import { retryDelayMs } from './backoff.ts'
import type { Capacity, Held } from './capacity.ts'
import { type Ending, errorText, ServerStopping } from './execution.ts'
import type { ClaimedJob, Leases, Try } from './leases.ts'
import type { JobOutcome } from './queue-metrics.ts'

/** Completions noted by one statement. */
const COMPLETED_MAX = 500
/** How long until the next try while the database is away, in ms. */
const AWAY_MS = 250

/** What becomes of jobs after a try, in one worker. */
export class Completion {
  readonly #kernel: Kernel
  readonly #leases: Leases
  readonly #capacity: Capacity
  /** Effects outside whose end is to be noted, together. */
  readonly #performed: { readonly id: Try; readonly noted: () => void }[] = []
  #noting = false
  #abandoned = false

  constructor(kernel: Kernel, leases: Leases, capacity: Capacity) {
    this.#kernel = kernel
    this.#leases = leases
    this.#capacity = capacity
  }

  /** Writes it down, however long the database is away; frees the place when it is written. */
  async record(held: Held, ending: Ending): Promise<JobOutcome> {
    switch (ending.kind) {
      case 'done':
        this.#capacity.forget(held)
        return 'done'
      case 'performed':
        this.#capacity.vacate(held)
        await this.#notePerformed(held.job)
        this.#capacity.forget(held)
        return 'done'
      case 'lost':
        this.#capacity.forget(held)
        return 'lost'
      case 'failed':
        return await this.#fail(held, ending.error)
    }
  }

  /** Gives up a job whose server was lost in its last try. */
  buryLost(held: Held): Promise<JobOutcome> {
    // Taking it over has counted a try that does not happen.
    const error = new Error('Its server was lost during the last try')
    return this.#bury(held, error, held.job.attempt - 1)
  }

  /** Gives up trying to reach the database: the lease will lapse. */
  abandon(): void {
    this.#abandoned = true
  }

  /** Repeats a statement until it has reached the database; undefined when that is given up. */
  async #insist<T>(statement: () => Promise<T>): Promise<T | undefined> {
    const { clock, log } = this.#kernel
    for (let tried = 1; !this.#abandoned; tried++) {
      try {
        return await statement()
      } catch (error) {
        if (tried === 1) log.warn('the end of a job is not written yet', { error })
        await clock.sleep(AWAY_MS)
      }
    }
    return undefined
  }

  /** Notes an effect outside, together with others that end about now. */
  #notePerformed({ id, attempt }: ClaimedJob): Promise<void> {
    return new Promise((noted) => {
      this.#performed.push({ id: { id, attempt }, noted })
      if (!this.#noting) void this.#note()
    })
  }

  async #note(): Promise<void> {
    this.#noting = true
    while (this.#performed.length > 0) {
      const batch = this.#performed.splice(0, COMPLETED_MAX)
      await this.#insist(() => this.#leases.complete(batch.map(({ id }) => id)))
      for (const { noted } of batch) noted()
    }
    this.#noting = false
  }

  async #fail(held: Held, error: unknown): Promise<JobOutcome> {
    const { job, queue } = held
    if (error instanceof ServerStopping) {
      return (await this.#putBack(held, 0, false)) ? 'returned' : 'lost'
    }
    if (error instanceof Postponed) {
      return (await this.#putBack(held, error.delayMs, false)) ? 'postponed' : 'lost'
    }
    if (error instanceof Hopeless || job.attempt >= queue.triesMax) {
      return await this.#bury(held, error, job.attempt)
    }
    const delayMs = retryDelayMs(queue.backoffMs, job.attempt, error)
    if (!(await this.#putBack(held, delayMs, true, error))) return 'lost'
    const fields = { queue: queue.name, job: job.id, attempt: job.attempt, error }
    this.#kernel.log.warn('job failed', fields)
    return 'failed'
  }

  async #putBack(held: Held, delayMs: number, counted: boolean, error?: unknown): Promise<boolean> {
    const text = error === undefined ? {} : { error: errorText(error) }
    const back = { delayMs, counted, ...text }
    const ours = await this.#insist(() => this.#leases.putBack(held.job, back))
    this.#capacity.forget(held)
    return ours === true
  }

  async #bury(held: Held, error: unknown, attempts: number): Promise<JobOutcome> {
    const { job, queue } = held
    const burial = { payload: this.#payloadOfDead(held), attempts, error: errorText(error) }
    const ours = await this.#insist(() => this.#leases.bury(job, burial))
    this.#capacity.forget(held)
    if (ours !== true) return 'lost'
    this.#kernel.log.error('job given up', { queue: queue.name, job: job.id, attempts, error })
    return 'dead'
  }

  /** The payload as `dead_letters` keeps it: sealed for its new place. */
  #payloadOfDead({ job, queue }: Held): Uint8Array {
    const { vault } = this.#kernel
    if (queue.sealed !== true) return job.payload
    try {
      const open = vault.open(placeOf('queue_jobs', 'payload', job.id), job.payload)
      return vault.seal(placeOf('dead_letters', 'payload', job.id), open)
    } catch {
      // It does not open, which may be why it died: kept as it is.
      return job.payload
    }
  }
}
