/** What a row of the table says. */

import type { ValueType } from '../values.ts'

/** One setting. It has either a `default` or a sentence on what happens when it is `absent`. */
export interface Variable {
  /** Heading in the documentation. */
  group: 'Server' | 'Storage' | 'Identity' | 'Limits' | 'Observation' | 'Drivers'
  type: ValueType<unknown>
  /** Other names of the same setting, which count when this one is not set. */
  aliases?: readonly string[]
  /** Names in older systems from which the value is put together when it is not set. */
  composedOf?: readonly string[]
  /** Read like a value that was given. */
  default?: string
  absent?: string
  description: string
  /** What production demands. */
  production?: string
  /** Features that need a value in production, because the default is for development. */
  neededBy?: readonly string[]
  /** Never shown, and can come from the file that `NAME_FILE` names. */
  secret?: true
  example: string
}
