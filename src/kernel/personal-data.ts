import type { SQL } from 'bun'
import type { Caller } from './access.ts'
import type { WriteContext } from './context.ts'
import type { JsonObject } from './effects.ts'
import { type Kernel, part } from './kernel.ts'

/** One thing that is held of a person, in a list of its kind. */
export interface PersonalItem {
  readonly section: string
  readonly item: JsonObject
}

/** What a feature holds of a person. */
export interface PersonalData {
  /**
   * Everything of theirs, for the export of one's data: lists by name, read page by page so that no
   * export fills the memory. Never secrets, and never other people's data.
   */
  readonly export?: (kernel: Kernel, sql: SQL, userId: string) => AsyncIterable<PersonalItem>
  /** Removes or anonymises it when the account is closed, in that transaction. */
  readonly forget?: (ctx: WriteContext<Caller | null>, userId: string) => Promise<void>
  /** What stays after closing and why, one sentence each; shown to whoever closes an account. */
  readonly kept?: readonly string[]
}

/** What all features hold of a person, also those that are turned off. */
export const AllPersonalData = part<readonly PersonalData[]>('the personal data of all features')
