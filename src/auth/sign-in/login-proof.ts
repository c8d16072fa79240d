import { createHmac } from 'node:crypto'
import { Failure } from '../../base/errors.ts'
import type { Actor, RequestInfo } from '../../kernel/access.ts'
import type { Context, WriteContext } from '../../kernel/context.ts'
import type { AuditLine } from '../../kernel/effects.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { findCredentials } from '../accounts/users.ts'
import { Passwords } from './passwords.ts'

/**
 * The proof of somebody who is not signed in: a name and its password. An unknown name and a wrong
 * password cannot be told apart, by the answer or by the time it takes.
 */

/** A login whose password was right. */
export interface ProvenLogin {
  readonly userId: string
  /** What the password was compared with. */
  readonly hash: string
  /** The hash is of an older system. */
  readonly outdated: boolean
}

/** What is said of both an unknown name and a wrong password. */
export const wrongCredentials = () =>
  new Failure('invalid_credentials', 'Unknown user or wrong password')

/**
 * Compares a password, before any transaction: hashing takes 0.1 s.
 * @throws Failure `invalid_credentials` | `overloaded`
 */
export async function proveLogin(
  { kernel, request }: Context<Actor | null>,
  name: string,
  password: string,
): Promise<ProvenLogin> {
  const known = await kernel.db.read((sql) => findCredentials(sql, name))
  const hash = known?.password_hash ?? null
  const verdict = await kernel.use(Passwords).verify(password, hash, name.toLowerCase())
  if (known === undefined || hash === null || verdict === 'wrong') {
    await kernel.audit.record(wrongLogin(kernel, request, name, known?.id))
    throw wrongCredentials()
  }
  return { userId: known.id, hash, outdated: verdict === 'outdated' }
}

/**
 * Locks the account and makes sure that the password is still the one that was proven: whoever
 * changes it ends all sessions, and must not miss one that is about to open.
 * @throws Failure `invalid_credentials` when it was changed meanwhile
 */
export async function holdLogin(
  { kernel, tx }: WriteContext<Actor | null>,
  { userId, hash }: ProvenLogin,
  password: string,
): Promise<void> {
  const [user] = (await tx.sql`
    select password_hash from users where id = ${userId} for share`) as {
    password_hash: string | null
  }[]
  const now = user?.password_hash ?? null
  if (now === hash) return
  // The same password, hashed anew by another login at this moment, is as good.
  if (now !== null && (await kernel.use(Passwords).verify(password, now)) !== 'wrong') return
  throw wrongCredentials()
}

/**
 * The line about a login that was refused. What somebody typed as a name may be a password, or the
 * name of nobody here: of that only a keyed hash is kept, by which attempts can be compared.
 */
function wrongLogin(
  { config }: Kernel,
  request: RequestInfo,
  name: string,
  userId: string | undefined,
): AuditLine {
  const line = { action: 'auth.sign_in_failed', outcome: 'failure', caller: null, request } as const
  if (userId !== undefined) return { ...line, target: { type: 'user', id: userId } }
  const login = createHmac('sha256', config.masterKeys[0] as Uint8Array)
    .update('rialto audit login')
    .update(name.toLowerCase())
    .digest('base64url')
  return { ...line, personal: { login_hash: login } }
}
