import { internalRequest } from '../src/kernel/access.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import type { JobInfo, Queue } from '../src/kernel/queue.ts'
import { unitOfWork } from '../src/kernel/write.ts'
import { redactField } from '../src/observe/redact.ts'
import { placeOf } from '../src/vault/vault.ts'
import type { ClaimedJob } from './leases.ts'

/** How a try ended. */
export type Ending =
  /** Its effect and its end are committed, together. */
  | { readonly kind: 'done' }
  /** Its effect has happened outside; its end is still to be noted. */
  | { readonly kind: 'performed' }
  /** Somebody else has the job by now: this try has changed nothing in the database. */
  | { readonly kind: 'lost' }
  | { readonly kind: 'failed'; readonly error: unknown }

/** The job is another worker's by now, because this one was silent for too long. */
export class LeaseLost extends Error {
  override readonly name = 'LeaseLost'
}
/** A try took longer than its queue allows. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded'
}
/** The server goes away; the job starts again elsewhere. */
export class ServerStopping extends Error {
  override readonly name = 'ServerStopping'
}

const ERROR_TEXT_MAX = 1_000

/** An error as it may be kept and shown: redacted, without its stack, at most 1,000 characters. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(redactField('error', error)).slice(0, ERROR_TEXT_MAX)
  const { name, message } = redactField('error', error) as { name: string; message: string }
  // Text of the database holds no U+0000.
  return `${name}: ${message}`.replaceAll('\0', '').slice(0, ERROR_TEXT_MAX)
}

/** The ending of a try that threw, or was aborted for, this. */
export function endingOf(error: unknown): Ending {
  return error instanceof LeaseLost ? { kind: 'lost' } : { kind: 'failed', error }
}

/** Runs one try of a job. Never rejects. */
export async function execute(
  kernel: Kernel,
  queue: Queue,
  job: ClaimedJob,
  workerId: string,
  signal: AbortSignal,
): Promise<Ending> {
  try {
    const payload = payloadOf(kernel, queue, job) as never
    const info = { id: job.id, attempt: job.attempt, enqueuedAtMs: job.enqueuedAtMs }
    if (queue.perform !== undefined) {
      await queue.perform({ kernel, job: info, signal }, payload)
      return { kind: 'performed' }
    }
    await handle(kernel, queue, { job: info, payload, workerId, signal })
    return { kind: 'done' }
  } catch (error) {
    return endingOf(signal.aborted ? signal.reason : error)
  }
}

function payloadOf({ vault }: Kernel, queue: Queue, { id, payload }: ClaimedJob): unknown {
  const bytes =
    queue.sealed === true ? vault.open(placeOf('queue_jobs', 'payload', id), payload) : payload
  const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
  if (queue.valid.check(value)) return value
  // Of another version, perhaps: the paths say where, and nothing of what is inside.
  const paths = queue.valid.errors(value).map(({ path }) => path)
  throw new Error(`not a payload of the queue ${queue.name}: ${paths.join(', ')}`)
}

interface Handling {
  readonly job: JobInfo
  readonly payload: never
  readonly workerId: string
  readonly signal: AbortSignal
}

/** Ends the job and has its effect in one transaction. */
async function handle(kernel: Kernel, queue: Queue, handling: Handling): Promise<void> {
  const { job, payload, workerId, signal } = handling
  const who = { actor: null, request: internalRequest(job.id) }
  await unitOfWork(kernel, who, async (ctx) => {
    signal.throwIfAborted()
    // First, because the lock on the row keeps everybody else from it until this transaction has
    // ended, however long this process stands still; and if somebody else has it, nothing happens.
    const ended = await ctx.tx.sql`
      delete from queue_jobs
      where id = ${job.id} and attempts = ${job.attempt} and lease_id = ${workerId}`
    if (ended.count === 0) throw new LeaseLost('The job is another worker’s by now')
    await orAborted(queue.handle!({ ...ctx, job, signal }, payload), signal)
  })
}

/** Waits for `work`, but not longer than until `signal` is aborted: then the transaction ends. */
async function orAborted(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
    // What it does later concerns nobody: its transaction has been rolled back.
    work.catch(() => undefined)
  }
}
