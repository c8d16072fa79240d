import type { SQL } from 'bun'
import type { Tx } from '../../db/transaction.ts'
import type { Clock } from '../base/clock.ts'
import type { Static, TObject } from '../base/schema.ts'
import type { Actor, RequestInfo } from './access.ts'
import type { AuditEntry, Emission, EnqueueOptions, JobTarget } from './effects.ts'
import type { Kernel } from './kernel.ts'

/** What every handler gets. */
export interface Context<A = Actor> {
  readonly kernel: Kernel
  readonly clock: Clock
  readonly actor: A
  readonly request: RequestInfo
}

/** What a handler in a transaction gets. It may run again after a serialisation failure. */
export interface WriteContext<A = Actor> extends Context<A> {
  readonly tx: Tx
  /** Adds an event to its stream, durable with this very transaction. */
  readonly emit: (emission: Emission) => void
  /** Adds a line to the audit log, durable with this very transaction. */
  readonly audit: (entry: AuditEntry) => void
  /**
   * Adds a line that is written only if this transaction fails, in one of its own: for refusals
   * that are found out within it.
   */
  readonly auditRefusal: (entry: AuditEntry) => void
  /** Adds a job to a queue, durable with this very transaction. */
  readonly enqueue: <P extends TObject>(
    queue: JobTarget<P>,
    payload: Static<P>,
    options?: EnqueueOptions,
  ) => void
  /** Runs once after the commit, and not at all when there is none. */
  readonly afterCommit: (fn: () => void) => void
}

/** One call of a batch. */
export interface BatchItem<I> {
  readonly actor: Actor
  readonly input: I
  readonly request: RequestInfo
}

/** What a batch handler gets: one transaction on one connection, statements pipelined. */
export interface BatchContext {
  readonly kernel: Kernel
  readonly clock: Clock
  readonly sql: SQL
  /**
   * Says early which channels this batch will emit to, so that their heads are locked while the
   * handler's own statements run. A hint: what is emitted elsewhere is still delivered.
   */
  claim(channels: readonly string[]): void
  /** Adds an event caused by item `index`. */
  readonly emit: (index: number, emission: Emission) => void
  /** Adds a line to the audit log for item `index`; dropped when that item fails. */
  readonly audit: (index: number, entry: AuditEntry) => void
  readonly afterCommit: (fn: () => void) => void
}
