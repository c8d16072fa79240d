import { Secret, TOTP } from 'otpauth'
import { randomBytes } from '../../base/ids.ts'

/**
 * Time-based one-time passwords (RFC 6238) as every authenticator app computes them: SHA-1, six
 * digits, thirty seconds. Pure; a library does the arithmetic.
 */

const ISSUER = 'Rialto'
/** The length that RFC 4226 recommends, in bytes. */
const SECRET_BYTES = 20
const PERIOD_SECONDS = 30
const DIGITS = 6
/** Steps before and after the present one that are taken: clocks differ, and people type. */
const WINDOW = 1

/** A new secret. */
export const newTotpSecret = (): Uint8Array<ArrayBuffer> => randomBytes(SECRET_BYTES)

function totpOf(secret: Uint8Array, label: string): TOTP {
  return new TOTP({
    issuer: ISSUER,
    label,
    algorithm: 'SHA1',
    digits: DIGITS,
    period: PERIOD_SECONDS,
    secret: new Secret({ buffer: Uint8Array.from(secret).buffer }),
  })
}

/** The secret as people type it (base32). */
export function totpText(secret: Uint8Array): string {
  return totpOf(secret, '').secret.base32
}

/**
 * The secret as apps read it from a QR code (Key URI Format of Google Authenticator).
 * @param label whose it is, shown by the app
 */
export function totpUrl(secret: Uint8Array, label: string): string {
  return totpOf(secret, label).toString()
}

/**
 * The time step that `code` is of, when it is right for about now and of a later step than
 * `afterStep`; each step is accepted once, and none before it (RFC 6238, 5.2).
 */
export function acceptedStep(
  secret: Uint8Array,
  code: string,
  nowMs: number,
  afterStep: number | null,
): number | undefined {
  const delta = totpOf(secret, '').validate({ token: code, timestamp: nowMs, window: WINDOW })
  if (delta === null) return undefined
  const step = Math.floor(nowMs / 1000 / PERIOD_SECONDS) + delta
  return afterStep !== null && step <= afterStep ? undefined : step
}
