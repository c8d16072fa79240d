import { Failure } from '../../src/kernel/errors.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'

/** The token that counts as a fresh second factor in the tests that are not about it. */
export const SHOWN = 'a-second-factor-was-shown'
/** The header that brings it. */
export const STEPPED_UP = { 'X-Step-Up': SHOWN }

/** Replaces identity's check: whoever brings `SHOWN` has shown a second factor. */
export function acceptStepUp(kernel: Kernel): void {
  Object.assign(kernel, {
    stepUp: {
      require(_ctx: unknown, _operation: unknown, _input: unknown, token: string | undefined) {
        if (token === SHOWN) return Promise.resolve()
        return Promise.reject(new Failure('step_up_required', 'This needs a second factor'))
      },
    },
  })
}
