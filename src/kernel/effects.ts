import type { Static, TObject, Validator } from '../base/schema.ts'
import type { Caller, RequestInfo } from './access.ts'

/**
 * What a transaction does beside its rows: events, jobs and lines of the audit log. Plain data that
 * points to no definition, so that whoever writes or passes it on needs to know none.
 */

/**
 * How a channel is recovered after a cut:
 * `stream` keeps every event for a while, `cache` keeps the latest, `none` keeps nothing.
 */
export type Recovery = 'stream' | 'cache' | 'none'

/**
 * What a stream row points to when its content lives in the feature's own tables: two integers,
 * `e.ref_a` and `e.ref_b` in the event's `content`.
 */
export type Reference = readonly [number, number]

/** A durable event on its way to its stream; `emission()` of `channel.ts` makes it. */
export interface Emission {
  /** Full name of the channel, `namespace:id`. */
  readonly channel: string
  /** The user whose personal channel it is. */
  readonly owner: string | undefined
  readonly recovery: Recovery
  readonly type: string
  /** Number of the type in stream rows; undefined for one that is never durable. */
  readonly kind: number | undefined
  /** The payload as JSON text: serialised once, for every reader. */
  readonly payload: string
  /** Set when the stream row holds only a reference. */
  readonly ref: Reference | undefined
}

/** A queue, as far as putting a job into it goes. */
export interface JobTarget<P extends TObject = TObject> {
  readonly name: string
  readonly payload: P
  readonly valid: Validator
  /** Payloads are encrypted at rest. */
  readonly sealed?: boolean
}

/** When and how a job is put into its queue. */
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
  readonly queue: string
  readonly sealed: boolean
  /** The payload as JSON text. */
  readonly payload: string
}

/** Makes a job of a payload. @throws Error for one that its queue does not take */
export function enqueued<P extends TObject>(
  { name, valid, sealed = false }: JobTarget<P>,
  payload: Static<P>,
  options: EnqueueOptions = {},
): Enqueued {
  if (!valid.check(payload)) {
    throw new Error(`not a payload of the queue ${name}: ${JSON.stringify(valid.errors(payload))}`)
  }
  return { ...options, queue: name, sealed, payload: JSON.stringify(payload) }
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
