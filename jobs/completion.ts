import type { Kernel } from '../src/kernel/kernel.ts'
import { Hopeless, Postponed } from '../src/kernel/queue.ts'
import { placeOf } from '../src/vault/vault.ts'
import { retryDelayMs } from './backoff.ts'
import type { Capacity, Held } from './capacity.ts'
import { type Ending, errorText, ServerStopping } from './execution.ts'
import type { ClaimedJob, Leases, Try } from './leases.ts'
import type { JobOutcome } from './queue-metrics.ts'

/** What becomes of a job after a try. */
export interface Completion {
  /** Writes it down, however long the database is away; frees the place when it is written. */
  record(held: Held, ending: Ending): Promise<JobOutcome>
  /** Gives up a job whose server was lost in its last try. */
  buryLost(held: Held): Promise<JobOutcome>
  /** Gives up trying to reach the database: the lease will lapse. */
  abandon(): void
}

/** Completions noted by one statement. */
const COMPLETED_MAX = 500
/** How long until the next try while the database is away, in ms. */
const AWAY_MS = 250

/** Makes the completion of a worker. */
export function createCompletion(kernel: Kernel, leases: Leases, capacity: Capacity): Completion {
  const { clock, log, vault } = kernel
  let abandoned = false
  const completed: { readonly id: Try; readonly noted: () => void }[] = []
  let noting = false

  /** Repeats a statement until it has reached the database; undefined when that is given up. */
  const insist = async <T>(statement: () => Promise<T>): Promise<T | undefined> => {
    for (let tried = 1; !abandoned; tried++) {
      try {
        return await statement()
      } catch (error) {
        if (tried === 1) log.warn('the end of a job is not written yet', { error })
        await clock.sleep(AWAY_MS)
      }
    }
    return undefined
  }

  const note = async () => {
    noting = true
    while (completed.length > 0) {
      const batch = completed.splice(0, COMPLETED_MAX)
      await insist(() => leases.complete(batch.map(({ id }) => id)))
      for (const { noted } of batch) noted()
    }
    noting = false
  }
  /** Notes an effect outside, together with others that end about now. */
  const complete = ({ id, attempt }: ClaimedJob) =>
    new Promise<void>((noted) => {
      completed.push({ id: { id, attempt }, noted })
      if (!noting) void note()
    })

  /** The payload as `dead_letters` keeps it: sealed for its new place. */
  const payloadOfDead = ({ job, queue }: Held): Uint8Array => {
    if (queue.sealed !== true) return job.payload
    try {
      const open = vault.open(placeOf('queue_jobs', 'payload', job.id), job.payload)
      return vault.seal(placeOf('dead_letters', 'payload', job.id), open)
    } catch {
      // It does not open, which may be why it died: kept as it is.
      return job.payload
    }
  }
  const bury = async (held: Held, error: unknown, attempts: number): Promise<JobOutcome> => {
    const { job, queue } = held
    const burial = { payload: payloadOfDead(held), attempts, error: errorText(error) }
    const ours = await insist(() => leases.bury(job, burial))
    capacity.forget(held)
    if (ours !== true) return 'lost'
    log.error('job given up', { queue: queue.name, job: job.id, attempts, error })
    return 'dead'
  }
  const putBack = async (held: Held, delayMs: number, counted: boolean, error?: unknown) => {
    const text = error === undefined ? {} : { error: errorText(error) }
    const ours = await insist(() => leases.putBack(held.job, { delayMs, counted, ...text }))
    capacity.forget(held)
    return ours === true
  }

  const fail = async (held: Held, error: unknown): Promise<JobOutcome> => {
    const { job, queue } = held
    if (error instanceof ServerStopping) {
      return (await putBack(held, 0, false)) ? 'returned' : 'lost'
    }
    if (error instanceof Postponed) {
      return (await putBack(held, error.delayMs, false)) ? 'postponed' : 'lost'
    }
    if (error instanceof Hopeless || job.attempt >= queue.triesMax) {
      return await bury(held, error, job.attempt)
    }
    const delayMs = retryDelayMs(queue.backoffMs, job.attempt, error)
    if (!(await putBack(held, delayMs, true, error))) return 'lost'
    log.warn('job failed', { queue: queue.name, job: job.id, attempt: job.attempt, error })
    return 'failed'
  }

  return {
    buryLost: (held) =>
      // Taking it over has counted a try that does not happen.
      bury(held, new Error('Its server was lost during the last try'), held.job.attempt - 1),
    abandon: () => (abandoned = true),
    async record(held, ending) {
      switch (ending.kind) {
        case 'done':
          capacity.forget(held)
          return 'done'
        case 'performed':
          capacity.vacate(held)
          await complete(held.job)
          capacity.forget(held)
          return 'done'
        case 'lost':
          capacity.forget(held)
          return 'lost'
        case 'failed':
          return await fail(held, ending.error)
      }
    },
  }
}
