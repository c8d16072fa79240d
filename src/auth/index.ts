/**
 * Identity: accounts, sessions, and the tokens that speak for them.
 *
 * - An access token is believed without the database, for as long as its session is not revoked;
 *   `tokens.ts` alone makes and checks them, `Authenticator` is whom the edges ask.
 * - Revocation is a row in the database that every instance polls within half a second.
 * - Secrets that clients hold (refresh tokens, tickets) are stored as hashes only.
 *
 * May import the kernel and the database; no other feature, and no edge.
 */

import { feature } from '../kernel/feature.ts'
import { Authenticator } from './authenticator.ts'
import { userChannel } from './channels.ts'
import { forgetEnded } from './jobs.ts'
import { operations } from './operations/index.ts'

export { createStepUp } from './step-up.ts'
export { Authenticator } from './authenticator.ts'
export { userChannel } from './channels.ts'
export { forgetEnded } from './jobs.ts'

/** Identity, as `features.ts` mounts it. */
export const authFeature = feature({
  name: 'auth',
  operations,
  channels: [userChannel],
  jobs: [forgetEnded],
  start: (kernel) => kernel.use(Authenticator).start(),
})
