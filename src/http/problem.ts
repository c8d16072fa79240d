import { type ErrorCode, ERRORS, type Failure } from '../base/errors.ts'
import { oneOf, type Static, t } from '../base/schema.ts'

const CODES = Object.keys(ERRORS) as ErrorCode[]

/** The body of every refusal: problem details of RFC 9457 with the house's own members. */
export const Problem = t.Object(
  {
    type: t.String({ description: '`urn:rialto:problem:` and the code' }),
    title: t.String(),
    status: t.Integer({ minimum: 400, maximum: 599 }),
    code: oneOf(CODES, 'What clients switch on'),
    detail: t.String({ description: 'A sentence for people' }),
    errors: t.Optional(
      t.Array(
        t.Object({
          path: t.String({ description: 'JSON pointer into the input' }),
          message: t.String(),
        }),
      ),
    ),
    challenge: t.Optional(
      t.String({ description: 'For `step_up_required`: goes to `POST auth/mfa/verify`' }),
    ),
    retryable: t.Boolean({ description: 'Whether the same request may succeed later' }),
    retry_after_ms: t.Optional(t.Integer({ minimum: 0 })),
    request_id: t.String(),
  },
  { $id: 'Problem' },
)
export type Problem = Static<typeof Problem>

/** Renders a failure. */
export function problemOf(failure: Failure, requestId: string): Problem {
  const problem: Problem = {
    type: `urn:rialto:problem:${failure.code}`,
    title: ERRORS[failure.code].title,
    status: failure.status,
    code: failure.code,
    detail: failure.message,
    retryable: failure.retryable,
    request_id: requestId,
  }
  if (failure.errors !== undefined) problem.errors = [...failure.errors]
  if (failure.challenge !== undefined) problem.challenge = failure.challenge
  if (failure.retryAfterMs !== undefined) problem.retry_after_ms = failure.retryAfterMs
  return problem
}
