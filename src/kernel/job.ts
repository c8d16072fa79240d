import type { Kernel } from './kernel.ts'

/** Work that happens by itself, at the times in `jobs/schedule.ts`. */
export interface Job {
  readonly name: string
  readonly description: string
  /** Does one run. Runs of one job never overlap in a process; it must be safe to run twice. */
  readonly run: (kernel: Kernel) => Promise<void>
}
