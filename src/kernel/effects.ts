import type { Caller, RequestInfo } from './access.ts'
import type { EventType } from './channel.ts'
import type { Queue } from './queue.ts'

/**
 * What a stream row points to when its content lives in the feature's own tables: two integers,
 * `e.ref_a` and `e.ref_b` in the event's `content`.
 */
export type Reference = readonly [number, number]

/** A durable event on its way to its stream. */
export interface Emission {
  readonly event: EventType
  /** Full name of the channel, `namespace:id`. */
  readonly channel: string
  /** The payload as JSON text: serialised once, for every reader. */
  readonly payload: string
  /** Set when the stream row holds only a reference. */
  readonly ref: Reference | undefined
}

/** A job to be. */
export interface EnqueueOptions {
  /** Not before so many milliseconds from now. */
  readonly delayMs?: number
  /**
   * At most one *waiting* job of a queue has a key; another with the same one adds nothing, except
   * that it may bring the first try forward. The waiting job then starts after the commit of
   * whoever enqueued it last. A running one does not count, since it may have begun before what the
   * new one is about: two jobs with one key may overlap. Of a job that failed and a newer one that
   * waits, the newer goes on.
   */
  readonly key?: string
}

/** A job on its way into the database. */
export interface Enqueued extends EnqueueOptions {
  readonly queue: Queue
  readonly payload: unknown
}

/** A value that JSON knows. */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject

/** An object that JSON knows. */
export interface JsonObject {
  readonly [name: string]: Json
}

/** How an act ended: done, tried and failed (a wrong password), or refused by a rule. */
export const AUDIT_OUTCOMES = ['success', 'failure', 'denied'] as const

export type AuditOutcome = (typeof AUDIT_OUTCOMES)[number]

/**
 * What the log keeps of an act. Who acted, from where and when is added by whoever writes it down.
 *
 * Nothing here may hold a secret. `before`, `after` and `target` are kept as long as the log is and
 * must not identify a person except by id; what does goes into `personal`, which is erasable.
 */
export interface AuditEntry {
  /** `feature.past_event`: `auth.password_changed`. Lower case, words with underscores. */
  readonly action: string
  /** Default: `success`. */
  readonly outcome?: AuditOutcome
  /** What was acted on. */
  readonly target?: { readonly type: string; readonly id: string }
  readonly before?: JsonObject
  readonly after?: JsonObject
  /** Addresses, names and whatever else identifies somebody. */
  readonly personal?: JsonObject
  /** Whose data `personal` is. Default: the target, when it is a user, else the actor. */
  readonly subjectId?: string
  /** Who acted, where the call cannot know it: somebody who is just signing in. */
  readonly actorId?: string
}

/** An entry with who and from where. `caller` is null for strangers and for the server itself. */
export interface AuditLine extends AuditEntry {
  readonly caller: Caller | null
  readonly request: RequestInfo
}
