import { compile, type Static, type TObject, type Validator } from '../base/schema.ts'
import type { WriteContext } from './context.ts'
import { type Kernel, part } from './kernel.ts'

/** A job as its handler sees it. */
export interface JobInfo {
  readonly id: string
  /** 1 for the first try. */
  readonly attempt: number
  /** When it was enqueued, in milliseconds since the epoch. */
  readonly enqueuedAtMs: number
}

interface Common<P extends TObject> {
  readonly description: string
  readonly payload: P
  /** Jobs of this queue that run at the same time in one instance. */
  readonly concurrency: number
  /** A try that takes longer is aborted and counts as failed. In milliseconds. */
  readonly deadlineMs: number
  /** Tries before a job becomes a dead letter. */
  readonly triesMax: number
  /**
   * Wait after the first failure, doubled after each further one, with jitter; at most an hour. A
   * Failure with `retryAfterMs` may make it longer.
   */
  readonly backoffMs: number
  /** The payload holds secrets (a link that signs in): it is encrypted at rest. */
  readonly sealed?: boolean
}

/** The effect lies in the database alone: it commits with the end of the job, exactly once. */
interface ExactlyOnce<P extends TObject> {
  readonly handle: (ctx: JobContext, payload: Static<P>) => Promise<void>
}
/**
 * The effect lies outside (a mail, a request): at least once, since the server may die between the
 * effect and its note. Must stop soon after `signal` is aborted.
 */
interface AtLeastOnce<P extends TObject> {
  readonly perform: (ctx: PerformContext, payload: Static<P>) => Promise<void>
}

/** What the handler of a job gets: the transaction in which the job ends. */
export interface JobContext extends WriteContext<null> {
  readonly job: JobInfo
  readonly signal: AbortSignal
}
/** What the performer of an external effect gets. */
export interface PerformContext {
  readonly kernel: Kernel
  readonly job: JobInfo
  readonly signal: AbortSignal
}

/** The definition of a queue. */
export type QueueDefinition<P extends TObject> = Common<P> & (ExactlyOnce<P> | AtLeastOnce<P>)

/** A queue as the worker sees it. */
export interface Queue<P extends TObject = TObject> extends Common<P> {
  readonly name: string
  readonly valid: Validator
  /** Types erased: the worker has validated the payload. */
  readonly handle?: (ctx: JobContext, payload: never) => Promise<void>
  readonly perform?: (ctx: PerformContext, payload: never) => Promise<void>
}

/**
 * Declares a queue of durable jobs; list it in its feature's manifest.
 *
 * @example
 * export const mailQueue = queue('mail', {
 *   description: 'Mail on its way to the mail server', payload: t.Object({ to: t.String() }),
 *   concurrency: 4, deadlineMs: 30_000, triesMax: 8, backoffMs: 2_000,
 *   async perform({ kernel, signal }, { to }) { … },
 * })
 */
export function queue<P extends TObject>(name: string, definition: QueueDefinition<P>): Queue<P> {
  return { ...definition, name, valid: compile(definition.payload) }
}

/** Thrown by a handler: trying again is useless, the job becomes a dead letter at once. */
export class Hopeless extends Error {
  override readonly name = 'Hopeless'
}

/** Thrown by a handler: not now, but in `delayMs`; this was no try. */
export class Postponed extends Error {
  override readonly name = 'Postponed'
  readonly delayMs: number
  constructor(delayMs: number, reason: string) {
    super(reason)
    this.delayMs = delayMs
  }
}

/** The queues of all features, by name. */
export const QueueCatalog = part<ReadonlyMap<string, Queue>>('the queues of all features')
