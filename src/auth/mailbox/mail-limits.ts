import { Failure } from '../../base/errors.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import type { SecurityLimitName } from '../../kernel/limits.ts'
import { SecurityLimits } from '../../kernel/security-limits.ts'

/**
 * Whether one more letter may be caused; counts it. For where nobody may hear a refusal, because
 * it would tell them something.
 * @throws Failure `unavailable`
 */
export async function mayMail(
  kernel: Kernel,
  limit: SecurityLimitName,
  subject: string,
): Promise<boolean> {
  try {
    await kernel.use(SecurityLimits).take(limit, subject)
    return true
  } catch (error) {
    if (error instanceof Failure && error.code === 'rate_limited') return false
    throw error
  }
}
