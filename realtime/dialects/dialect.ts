import type { Failure } from '../../src/base/errors.ts'

/** A frame waiting for its turn. */
export interface WaitingFrame {
  readonly type: string
  readonly id: string | undefined
  readonly key: string | undefined
  readonly stepUp: string | undefined
  readonly payload: unknown
  /** Set: it is not to be run, but answered with this in its turn. */
  readonly refused?: Failure
}
