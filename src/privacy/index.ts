/**
 * Privacy: a copy of everything that is held of a person, for themself. (Closing an account is
 * identity's: `src/auth/accounts/closing.ts`.)
 *
 * - What belongs into it, every feature says by its `personalData.export`.
 * - It is written by a job, page by page, so that it never fills the memory; pages are compressed,
 *   sealed by the vault and lie in the database, so that every instance can hand them out.
 * - A try that was given up and goes on nevertheless adds nothing: pages are written in the name of
 *   the newest try alone.
 *
 * May import the kernel, the database, and the exports of `auth`.
 */

import { feature } from '../kernel/feature.ts'
import { retention } from '../kernel/retention.ts'
import { download, exportQueue, forget, list, request } from './operations.ts'

const DAY_MS = 86_400_000

/** Deletes copies that have expired, and those that never came about. */
export const forgetExports = retention(
  'privacy.forget_exports',
  'Deletes copies of personal data that have expired; hourly',
  [
    {
      table: 'data_exports',
      column: 'expires_at',
      keptMs: 0,
      // One that was deleted counts for the day in which there is no other.
      where: "created_at < now() - interval '1 day'",
    },
    { table: 'data_exports', column: 'created_at', keptMs: 7 * DAY_MS, where: "state <> 'ready'" },
  ],
)

/** Privacy, as `features.ts` mounts it. */
export const privacyFeature = feature({
  name: 'privacy',
  operations: [request, list, download, forget],
  queues: [exportQueue],
  jobs: [forgetExports],
  sealed: [{ table: 'export_pages', column: 'content', id: 'id' }],
  personalData: {
    async forget({ tx }, userId) {
      await tx.sql`delete from data_exports where user_id = ${userId}`
    },
  },
})
