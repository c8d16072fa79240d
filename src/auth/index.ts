/**
 * Identity: accounts, sessions, and the tokens that speak for them.
 *
 * - An access token is believed without the database, for as long as its session is not revoked;
 *   `tokens.ts` alone makes and checks them, `Authenticator` is whom the edges ask.
 * - Revocation is a row in the database that every instance polls within half a second.
 * - Secrets that clients hold (refresh tokens, tickets, links) are stored as hashes only.
 *
 * May import the kernel, the database and mail's index; no other feature, and no edge. Whoever is
 * outside (features, edges, jobs, the assembly) imports this file and nothing else of identity.
 * Inside, files import files, across the five folders in every direction, and never this one.
 */

import { feature } from '../kernel/feature.ts'
import { given } from '../kernel/kernel.ts'
import { MailRecipients } from '../mail/index.ts'
import { exportIdentity, forgetIdentity, KEPT } from './accounts/personal.ts'
import { securityEvent, userChannel } from './channels.ts'
import { recoveryReminderQueue } from './factors/recoveries.ts'
import { forgetEnded } from './jobs.ts'
import { changeEmailQueue } from './mailbox/email-change.ts'
import { recipients } from './mailbox/recipients.ts'
import { closeUnverified } from './mailbox/unverified.ts'
import { operations } from './operations.ts'
import { PAGES } from './pages.ts'
import { accountEvents } from './service-events.ts'
import { Authenticator } from './sessions/authenticator.ts'
import { forgottenPasswordQueue } from './sign-in/password-change.ts'

// For the assembly, the edges and the timetable.
export { createStepUp } from './factors/step-up.ts'
export { Authenticator } from './sessions/authenticator.ts'
export { forgetEnded } from './jobs.ts'
export { closeUnverified } from './mailbox/unverified.ts'

// For whoever tells somebody something: on their stream, or by mail.
export { userChannel } from './channels.ts'
export { mailAdministrators, mailUser } from './mailbox/notices.ts'

// For whoever shows people, or changes what is theirs.
export { findProfiles, getAccount, noSuchUser } from './accounts/users.ts'
export { lockUser } from './accounts/lock.ts'
export { hasSecondFactor } from './factors/mfa.ts'

// For administration: accounts of others, and how somebody becomes an administrator.
export { keepEnvironmentAdmin } from './accounts/environment-admin.ts'
export {
  blockAccount,
  lockAdministrators,
  makeAdministrator,
  setRoles,
  unblockAccount,
} from './accounts/administrators.ts'
export { ACCOUNT_STATES, AccountView, listAccounts, viewAccount } from './accounts/directory.ts'
export { createUser, findOwner } from './accounts/users.ts'
export { LinkToken, pageLink } from './mailbox/links.ts'
export { confirmAddress } from './mailbox/verification.ts'
export { newSecret, secretOf } from './secrets.ts'
export { userRegistered } from './service-events.ts'
export { Account, Email, NewPassword, Username } from './shapes.ts'
export { Passwords } from './sign-in/passwords.ts'

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
  pages: PAGES,
  provides: [given(MailRecipients, recipients)],
  personalData: { export: exportIdentity, forget: forgetIdentity, kept: KEPT },
  start: (kernel) => kernel.use(Authenticator).start(),
})
