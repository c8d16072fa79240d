import { forgetInvitations } from '../src/admin/index.ts'
import { forgetKeys } from '../src/api-keys/index.ts'
import { forgetStrangers, rotateAudit } from '../src/audit/index.ts'
import { closeUnverified, forgetEnded } from '../src/auth/index.ts'
import { forgetContactChanges } from '../src/blocks/index.ts'
import { collectOwed } from '../src/funding/index.ts'
import type { Job } from '../src/kernel/job.ts'
import { expireHoldsJob, reconcileDaily } from '../src/ledger/index.ts'
import { deliverOrders } from '../src/payouts/index.ts'
import { forgetExports } from '../src/privacy/index.ts'
import { forgetOldReports } from '../src/reports/index.ts'
import { forgetDeliveries, wakeSenders } from '../src/webhooks/index.ts'
import { forgetOld } from './admin/index.ts'
import { forgetLimits } from './forget-limits.ts'
import { resealSecrets } from './reseal-secrets.ts'
import { rotateIdempotency } from './rotate-idempotency.ts'
import { trimStreams } from './trim-streams.ts'

/** A job and its time: a cron pattern in UTC. */
export interface Scheduled {
  readonly job: Job
  readonly at: string
}

/**
 * Everything that happens by itself, on one page. Each time of a job is one run on one instance,
 * tried again when it fails; of times that passed while no server ran, the latest is made up for.
 * To add one: a line here (docs/jobs.md).
 */
export const schedule: readonly Scheduled[] = [
  { job: trimStreams, at: '*/10 * * * *' },
  { job: rotateIdempotency, at: '5 * * * *' },
  { job: forgetEnded, at: '15 * * * *' },
  { job: expireHoldsJob, at: '* * * * *' },
  { job: deliverOrders, at: '*/5 * * * *' },
  { job: collectOwed, at: '20 * * * *' },
  { job: reconcileDaily, at: '30 3 * * *' },
  { job: wakeSenders, at: '*/10 * * * *' },
  { job: forgetLimits, at: '25 * * * *' },
  { job: forgetContactChanges, at: '35 * * * *' },
  { job: forgetExports, at: '45 * * * *' },
  { job: forgetOld, at: '40 3 * * *' },
  { job: forgetDeliveries, at: '45 3 * * *' },
  { job: forgetKeys, at: '50 3 * * *' },
  { job: forgetInvitations, at: '0 4 * * *' },
  { job: forgetOldReports, at: '5 4 * * *' },
  { job: closeUnverified, at: '30 4 * * *' },
  { job: resealSecrets, at: '20 3 * * *' },
  { job: rotateAudit, at: '25 * * * *' },
  { job: forgetStrangers, at: '10 4 * * *' },
]
