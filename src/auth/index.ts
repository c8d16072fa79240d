/**
 * Identity: accounts, sessions, and the tokens that speak for them.
 *
 * - An access token is believed without the database, for as long as its session is not revoked;
 *   `tokens.ts` alone makes and checks them, `Authenticator` is whom the edges ask.
 * - Revocation is a row in the database that every instance polls within half a second.
 * - Secrets that clients hold (refresh tokens, tickets, links) are stored as hashes only.
 *
 * May import the kernel, the database and mail; no other feature, and no edge.
 */

import { feature } from '../kernel/feature.ts'
import { Authenticator } from './authenticator.ts'
import { securityEvent, userChannel } from './channels.ts'
import { changeEmailQueue } from './email-change.ts'
import { forgetEnded } from './jobs.ts'
import { accountEvents } from './service-events.ts'
import { operations } from './operations/index.ts'
import { forgottenPasswordQueue } from './password-change.ts'
import { closeUnverified } from './unverified.ts'
import { exportIdentity, forgetIdentity, KEPT } from './personal.ts'
import { recoveryReminderQueue } from './recoveries.ts'

export { createStepUp } from './step-up.ts'
export { Authenticator } from './authenticator.ts'
export { userChannel } from './channels.ts'
export { mailAdministrators } from './notices.ts'
export { forgetEnded } from './jobs.ts'
export { closeUnverified } from './unverified.ts'

/** Identity, as `features.ts` mounts it. */
export const authFeature = feature({
  name: 'auth',
  operations,
  channels: [userChannel],
  events: [securityEvent],
  jobs: [forgetEnded, closeUnverified],
  queues: [changeEmailQueue, forgottenPasswordQueue, recoveryReminderQueue],
  serviceEvents: accountEvents,
  sealed: [
    { table: 'second_factors', column: 'secret', id: 'user_id' },
    { table: 'second_factors', column: 'pending_secret', id: 'user_id' },
  ],
  personalData: { export: exportIdentity, forget: forgetIdentity, kept: KEPT },
  start: (kernel) => kernel.use(Authenticator).start(),
})
