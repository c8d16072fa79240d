import type { Kernel } from './kernel.ts'

/** What a run has done, or would do, in numbers: `{ sessions_deleted: 3 }`. */
export type JobReport = Readonly<Record<string, number>>

/** Work that happens by itself, at the times in `jobs/schedule.ts`. */
export interface Job {
  /** `feature.verb_what`, as `auth.forget_ended`. */
  readonly name: string
  readonly description: string
  /**
   * Does one run. Runs of one job never overlap in a process; it must be safe to run twice, also at
   * once in two instances. Must stop soon after `signal` is aborted (its deadline, the server's
   * end). A run that throws is tried again.
   */
  readonly run: (kernel: Kernel, signal?: AbortSignal) => Promise<JobReport | void>
  /** Says what a run would do now, without doing it. */
  readonly dryRun?: (kernel: Kernel) => Promise<JobReport>
}
