import type { SQL } from 'bun'
import type { AuditLine } from './effects.ts'

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
