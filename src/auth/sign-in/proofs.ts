import { Failure } from '../../base/errors.ts'
import type { Caller } from '../../kernel/access.ts'
import type { Context } from '../../kernel/context.ts'
import { SecurityLimits } from '../../kernel/security-limits.ts'
import { addressGroup } from '../../net/address.ts'
import { type LinkPurpose, peekLink } from '../mailbox/links.ts'
import { Passwords } from './passwords.ts'

/** What is asked of somebody before an operation's transaction opens; refusals are audited. */

/**
 * Compares the password of somebody who is signed in, for what a session alone must not do.
 * @returns the hash that it was compared with
 * @throws Failure `invalid_credentials` | `rate_limited` | `overloaded`
 */
export async function provePassword(
  { kernel, actor, request }: Context,
  password: string,
): Promise<string> {
  const { userId } = actor
  const limits = kernel.use(SecurityLimits)
  // Counted first: of many guesses at once, none may slip through.
  await limits.take('password_change', userId)
  const [user] = (await kernel.db.read(
    (sql) => sql`select password_hash from users where id = ${userId} and closed_at is null`,
  )) as { password_hash: string | null }[]
  const hash = user?.password_hash ?? null
  const verdict = await kernel.use(Passwords).verify(password, hash)
  if (hash !== null && verdict !== 'wrong') {
    await limits.giveBack('password_change', userId)
    return hash
  }
  await kernel.audit.record({
    action: 'auth.password_refused',
    outcome: 'failure',
    target: { type: 'user', id: userId },
    caller: actor,
    request,
  })
  throw new Failure('invalid_credentials', 'Wrong password')
}

/**
 * Looks whether a link can be used, before the work that it allows.
 * @throws Failure `invalid_link` | `rate_limited`
 */
export async function proveLink(
  { kernel, request }: Context<Caller | null>,
  purpose: LinkPurpose,
  token: string,
): Promise<void> {
  const limits = kernel.use(SecurityLimits)
  const address = addressGroup(request.address)
  await limits.take('reset_token_address', address)
  try {
    await kernel.db.read((sql) => peekLink(sql, kernel.clock, purpose, token))
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'invalid_link') throw error
    await kernel.audit.record({
      action: 'auth.link_refused',
      outcome: 'failure',
      after: { purpose },
      caller: null,
      request,
    })
    throw error
  }
  await limits.giveBack('reset_token_address', address)
}
