/**
 * What can be asked of identity: becoming somebody (`sign-in.ts`), sessions, devices, addresses
 * (`email.ts`), passwords, second factors (`mfa.ts`, `recovery.ts`), accounts and profiles
 * (`users.ts`). Handlers only; tables and secrets are one folder up.
 */

import type { Operation } from '../kernel/operation.ts'
import * as closing from './accounts/closing-operations.ts'
import * as users from './accounts/operations.ts'
import * as mfa from './factors/operations.ts'
import * as recovery from './factors/recovery-operations.ts'
import * as email from './mailbox/operations.ts'
import * as devices from './sessions/device-operations.ts'
import * as sessions from './sessions/operations.ts'
import * as signIn from './sign-in/operations.ts'
import * as password from './sign-in/password-operations.ts'

/** Every operation of identity. */
export const operations: readonly Operation[] = [
  signIn.register,
  signIn.login,
  signIn.refresh,
  signIn.ticket,
  email.verify,
  email.resend,
  email.change,
  email.confirm,
  email.revert,
  password.forgot,
  password.reset,
  password.change,
  mfa.setup,
  mfa.verify,
  mfa.disable,
  mfa.newRecoveryCodes,
  mfa.status,
  recovery.start,
  recovery.cancel,
  recovery.complete,
  devices.list,
  devices.forget,
  sessions.logout,
  sessions.list,
  sessions.revoke,
  users.me,
  users.updateMe,
  users.list,
  users.get,
  users.create,
  users.update,
  closing.remove,
  closing.removeMe,
]
