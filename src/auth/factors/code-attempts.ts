import { Failure } from '../../base/errors.ts'
import type { Caller, RequestInfo } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { SecurityLimits } from '../../kernel/security-limits.ts'
import { addressGroup } from '../../net/address.ts'

/**
 * How often codes may be tried. Every try is counted before it is looked at, and stays counted
 * whatever becomes of the transaction that it was for.
 *
 * Only somebody with the password, or with a session, gets as far as trying a code. Each session,
 * and each device that is known, has a count of its own, so that somebody who has stolen the
 * password and guesses codes does not keep the owner out.
 */

/** Whose tries are counted together. */
export interface Guesser {
  readonly userId: string
  /** The session or known device that tries; undefined for a stranger with the password. */
  readonly place: string | undefined
}

const subjectOf = ({ userId, place = '' }: Guesser) => `${userId} ${place}`

/**
 * Counts a try. Not to be called in a transaction, since it has one of its own.
 * @throws Failure `rate_limited` | `unavailable`
 */
export async function countCode(
  kernel: Kernel,
  request: RequestInfo,
  guesser: Guesser,
): Promise<void> {
  const limits = kernel.use(SecurityLimits)
  try {
    await limits.take('mfa_code_address', addressGroup(request.address))
    await limits.take('mfa_code_account', subjectOf(guesser))
  } catch (error) {
    if (error instanceof Failure && error.code === 'rate_limited') {
      await note(kernel, request, guesser)
    }
    throw error
  }
}

/** A line about guesses that go on, not one about each. */
async function note(kernel: Kernel, request: RequestInfo, { userId }: Guesser): Promise<void> {
  if (kernel.limiter.take('refusal', `mfa_code ${userId}`) !== 0) return
  await kernel.audit.record({
    action: 'auth.mfa_code_limited',
    outcome: 'denied',
    target: { type: 'user', id: userId },
    caller: null,
    request,
  })
}

/** Forgets the tries of somebody whose code was right, once that is committed. */
export function codeWasRight(ctx: WriteContext<Caller | null>, guesser: Guesser): void {
  const { kernel } = ctx
  ctx.afterCommit(() => {
    kernel
      .use(SecurityLimits)
      .reset('mfa_code_account', subjectOf(guesser))
      .catch((error: unknown) => kernel.log.warn('code tries not forgotten', { error }))
  })
}
