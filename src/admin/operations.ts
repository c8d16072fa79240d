/**
 * What can be asked of administration: accounts of others (`users.ts`) and becoming an
 * administrator (`invitations.ts`). Handlers only; what they do stands in `invitations.ts`, and in
 * identity.
 */

import type { Operation } from '../kernel/operation.ts'
import * as invitations from './operations/invitations.ts'
import * as users from './operations/users.ts'

/** Every operation of administration. */
export const operations: readonly Operation[] = [
  users.list,
  users.get,
  users.block,
  users.unblock,
  users.roles,
  invitations.create,
  invitations.list,
  invitations.revoke,
  invitations.accept,
]
