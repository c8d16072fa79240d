import type { Failure } from '../../src/base/errors.ts'
import type { Publication } from '../streams/publication.ts'

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

/**
 * How a dialect writes what comes out of streams. The hub and recovery are handed one when they are
 * made, so that neither knows a dialect.
 */
export interface StreamRenderer {
  /** A numbered event as one frame: serialised once for all its readers. */
  readonly eventFrame: (channel: string, event: Publication) => string
  /** Publications as the elements of a JSON array, without parsing their payloads. */
  readonly publicationsJson: (publications: readonly Publication[]) => string
  /** The same as an SQL expression over a stream row `e`; type and payload are expressions. */
  readonly publicationSql: (type: string, payload: string) => string
}
