/**
 * Administration: what administrators do with the accounts of others, how somebody becomes one, and
 * the one that the environment keeps.
 *
 * - Every act needs the role and a session with a second factor, and whatever gives or takes power
 *   a fresh code (step-up); every act and every look at accounts is audited.
 * - There is always an administrator left (`src/auth/accounts/administrators.ts`).
 * - Invitations end with the powers of whoever made them.
 *
 * May import the kernel, the database, and the exports of `auth` and `mail`.
 */

import { keepEnvironmentAdmin } from '../auth/index.ts'
import { feature } from '../kernel/feature.ts'
import { retention } from '../kernel/retention.ts'
import { forgetInvitationsOf } from './invitations.ts'
import { operations } from './operations.ts'

/** Deletes invitations that ended a year ago; the audit log remembers them longer. */
export const forgetInvitations = retention(
  'admin.forget_invitations',
  'Deletes invitations of administrators that ended a year ago; daily',
  [{ table: 'admin_invitations', column: 'expires_at', keptMs: 365 * 86_400_000 }],
)

/** Administration, as `features.ts` mounts it. */
export const adminFeature = feature({
  name: 'admin',
  operations,
  jobs: [forgetInvitations],
  personalData: { forget: ({ tx, clock }, userId) => forgetInvitationsOf(tx.sql, clock, userId) },
  async start(kernel) {
    await keepEnvironmentAdmin(kernel)
    return () => undefined
  },
})
