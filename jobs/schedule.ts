import { forgetEnded } from '../src/auth/index.ts'
import { collectOwed } from '../src/funding/index.ts'
import { expireHoldsJob, reconcileDaily } from '../src/ledger/index.ts'
import type { Job } from '../src/kernel/job.ts'
import { deliverOrders } from '../src/payouts/index.ts'
import { rotateIdempotency } from './rotate-idempotency.ts'
import { trimStreams } from './trim-streams.ts'

/** A job and its time: a cron pattern in UTC. */
export interface Scheduled {
  readonly job: Job
  readonly at: string
}

/**
 * Everything that happens by itself, on one page. Every instance runs all of it: these jobs only
 * remove what is no longer wanted, so that doing it twice changes nothing.
 */
export const schedule: readonly Scheduled[] = [
  { job: trimStreams, at: '*/10 * * * *' },
  { job: rotateIdempotency, at: '5 * * * *' },
  { job: forgetEnded, at: '15 * * * *' },
  { job: expireHoldsJob, at: '* * * * *' },
  { job: deliverOrders, at: '*/5 * * * *' },
  { job: collectOwed, at: '20 * * * *' },
  { job: reconcileDaily, at: '30 3 * * *' },
]
