import type { Caller, RequestInfo } from './access.ts'
import type { Position } from './kernel.ts'

/** One call of an operation, from whichever edge. */
export interface Call {
  /** Null where nobody is signed in. */
  readonly actor: Caller | null
  readonly request: RequestInfo
  /** As it came: not yet validated. */
  readonly input: unknown
  /** Idempotency key, if the caller gave one. */
  readonly key?: string | undefined
  /** What a fresh second factor has earned, if the caller has shown one for this call. */
  readonly stepUp?: string | undefined
}

/** What came of a call. */
export interface Outcome {
  readonly output: unknown
  /** Where the caller's own stream stands after it, when its event was numbered at once. */
  readonly position?: Position | undefined
  /** The answer of an earlier request with the same key. */
  readonly replayed?: boolean
}
