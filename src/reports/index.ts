/**
 * Reports: what users tell the administrators about each other.
 *
 * - A report names a person, a reason and, if wanted, messages by their ids: this server has no
 *   content that could be looked at. What happened, the reporter says in a comment.
 * - Of a reporter, about one person and for one reason, at most one is open.
 * - Whoever is reported is told nothing. Acting on an account is administration's.
 *
 * May import the kernel, the database, and the exports of `auth` and `messaging`.
 */

import { feature } from '../kernel/feature.ts'
import { retention } from '../kernel/retention.ts'
import { create, list, resolve } from './operations.ts'
import { exportReports, forgetReports, KEPT } from './personal.ts'

/** Deletes reports a year after they were resolved. */
export const forgetOldReports = retention(
  'reports.forget',
  'Deletes reports about users a year after they were resolved; daily',
  [{ table: 'user_reports', column: 'resolved_at', keptMs: 365 * 86_400_000 }],
)

/** Reports, as `features.ts` mounts them. */
export const reportsFeature = feature({
  name: 'reports',
  operations: [create, list, resolve],
  jobs: [forgetOldReports],
  personalData: { export: exportReports, forget: forgetReports, kept: KEPT },
})
