import { Failure } from '../kernel/errors.ts'
import type { StepUp } from '../kernel/step-up.ts'

/** The check of fresh second factors. */
export function createStepUp(): StepUp {
  return {
    require() {
      return Promise.reject(new Failure('mfa_required', 'This needs a second factor'))
    },
  }
}
