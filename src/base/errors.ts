/**
 * One table of errors. Clients switch on `code`; the HTTP edge takes `status`, both edges take
 * `retryable`. Adding a failure means adding a row here: nothing else may invent a code.
 */
export const ERRORS = {
  bad_frame: { status: 400, retryable: false, title: 'Malformed frame' },
  malformed_json: { status: 400, retryable: false, title: 'Malformed JSON' },
  bad_request: { status: 400, retryable: false, title: 'Bad request' },
  unauthenticated: { status: 401, retryable: false, title: 'Not signed in' },
  token_expired: { status: 401, retryable: false, title: 'Access token expired' },
  session_revoked: { status: 401, retryable: false, title: 'Session revoked' },
  invalid_credentials: { status: 401, retryable: false, title: 'Invalid credentials' },
  refresh_reused: { status: 401, retryable: false, title: 'Refresh token reused' },
  step_up_required: { status: 401, retryable: false, title: 'Second factor needed' },
  mfa_code_required: { status: 401, retryable: false, title: 'Sign in with a code as well' },
  invalid_code: { status: 401, retryable: false, title: 'Wrong or used code' },
  mfa_required: { status: 403, retryable: false, title: 'Set up a second factor first' },
  forbidden: { status: 403, retryable: false, title: 'Not allowed' },
  not_found: { status: 404, retryable: false, title: 'Not found' },
  unknown_operation: { status: 404, retryable: false, title: 'Unknown operation' },
  invalid_link: { status: 410, retryable: false, title: 'Link wrong, used or expired' },
  method_not_allowed: { status: 405, retryable: false, title: 'Method not allowed' },
  not_acceptable: { status: 406, retryable: false, title: 'Not acceptable' },
  conflict: { status: 409, retryable: false, title: 'Conflict' },
  insufficient_funds: { status: 409, retryable: false, title: 'Insufficient funds' },
  already_exists: { status: 409, retryable: false, title: 'Already exists' },
  request_in_progress: { status: 409, retryable: true, title: 'Same request still running' },
  too_large: { status: 413, retryable: false, title: 'Too large' },
  unsupported_media_type: { status: 415, retryable: false, title: 'Unsupported media type' },
  validation_failed: { status: 422, retryable: false, title: 'Invalid input' },
  idempotency_key_reused: { status: 422, retryable: false, title: 'Idempotency key reused' },
  rate_limited: { status: 429, retryable: true, title: 'Too many requests' },
  internal: { status: 500, retryable: false, title: 'Internal error' },
  overloaded: { status: 503, retryable: true, title: 'Overloaded' },
  unavailable: { status: 503, retryable: true, title: 'Temporarily unavailable' },
} as const satisfies Record<string, { status: number; retryable: boolean; title: string }>

export type ErrorCode = keyof typeof ERRORS

/** One invalid place of an input: `path` is a JSON pointer into the operation's input. */
export interface FieldError {
  readonly path: string
  readonly message: string
}

interface FailureExtras {
  /** The invalid fields, for `validation_failed`. */
  readonly errors?: readonly FieldError[]
  /** When a retry may succeed, in milliseconds from now. */
  readonly retryAfterMs?: number
  /** What `POST auth/mfa/verify` wants, for `step_up_required`. */
  readonly challenge?: string
  /** Which rate of `src/kernel/limits.ts` was passed, for `rate_limited`. */
  readonly limit?: string
  readonly cause?: unknown
}

/** A failure that the caller may see. `detail` is a sentence for people; it must hold no secret. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly code: ErrorCode
  readonly errors: readonly FieldError[] | undefined
  readonly retryAfterMs: number | undefined
  readonly challenge: string | undefined
  readonly limit: FailureExtras['limit'] | undefined

  constructor(code: ErrorCode, detail?: string, extras: FailureExtras = {}) {
    super(detail ?? ERRORS[code].title, extras.cause === undefined ? {} : { cause: extras.cause })
    this.code = code
    this.errors = extras.errors
    this.retryAfterMs = extras.retryAfterMs
    this.challenge = extras.challenge
    this.limit = extras.limit
  }

  get status(): number {
    return ERRORS[this.code].status
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable
  }
}

/** What both edges show of a failure (the socket's error payload; the base of the problem body). */
export interface ErrorPayload {
  code: ErrorCode
  message: string
  retryable: boolean
  details?: { errors?: readonly FieldError[]; challenge?: string }
  retry_after_ms?: number
  request_id?: string
}

/** Renders a failure for a client. */
export function errorPayload(failure: Failure): ErrorPayload {
  const payload: ErrorPayload = {
    code: failure.code,
    message: failure.message,
    retryable: failure.retryable,
  }
  if (failure.errors !== undefined) payload.details = { errors: failure.errors }
  if (failure.challenge !== undefined) {
    payload.details = { ...payload.details, challenge: failure.challenge }
  }
  if (failure.retryAfterMs !== undefined) payload.retry_after_ms = failure.retryAfterMs
  return payload
}
