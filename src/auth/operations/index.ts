/**
 * What can be asked of identity: becoming somebody (`sign-in.ts`), one's devices (`sessions.ts`),
 * accounts and profiles (`users.ts`). Handlers only; tables and secrets are one folder up.
 */

import type { Operation } from '../../kernel/operation.ts'
import * as sessions from './sessions.ts'
import * as signIn from './sign-in.ts'
import * as users from './users.ts'

/** Every operation of identity. */
export const operations: readonly Operation[] = [
  signIn.register,
  signIn.login,
  signIn.refresh,
  signIn.ticket,
  sessions.logout,
  sessions.list,
  sessions.revoke,
  users.me,
  users.updateMe,
  users.list,
  users.get,
  users.create,
  users.update,
  users.remove,
]
