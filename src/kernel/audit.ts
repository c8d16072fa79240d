import type { SQL } from 'bun'
import type { Caller, RequestInfo } from './operation.ts'

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

/** The log of what was done, by whom. Lines commit with the act they report, or not at all. */
export interface Audit {
  /** Inserts lines in the caller's transaction; sent at once, so that it may be awaited later. */
  insert(sql: SQL, lines: readonly AuditLine[]): Promise<void>
  /** Tells the sealer that lines have been committed. */
  committed(): void
  /** Calls `listener` then; returns how to stop that. */
  onCommitted(listener: () => void): () => void
  /** Writes a line in a transaction of its own: for refusals, which change nothing else. */
  record(line: AuditLine): Promise<void>
}
