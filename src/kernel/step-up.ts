import type { WriteContext } from './context.ts'
import type { Operation } from './operation.ts'

/**
 * A fresh second factor for one exact call (`docs/authentication.md`). Who needs it is said by the
 * operation; who checks it is identity.
 */
export interface StepUp {
  /**
   * Uses up `token` in the caller's transaction, if it was given for exactly this user, session,
   * operation and input.
   * @throws Failure `step_up_required` with a challenge | `mfa_required`
   */
  require(
    ctx: WriteContext,
    operation: Operation,
    input: unknown,
    token: string | undefined,
  ): Promise<void>
}
