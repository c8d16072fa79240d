import { createHmac, timingSafeEqual } from 'node:crypto'
import { Failure } from '../base/errors.ts'

/**
 * Signatures of payment webhooks, in the scheme that Stripe has published and others have taken
 * over: `Stripe-Signature: t=<seconds>,v1=<hex>[,v1=<hex>…]`, where each `v1` is the HMAC-SHA256 of
 * `<t>.<body>` over the bytes that were sent (docs.stripe.com/webhooks, "Verify manually").
 */

/** How old or how far ahead a signature may be: a recorded request is of no use later. */
export const TOLERANCE_MS = 300_000
/** While a provider changes its secret it signs with both; more than a few are an attack. */
const SIGNATURES_MAX = 10

/** What a request claims. */
interface Claim {
  readonly timestamp: string
  readonly signatures: readonly Buffer[]
}

/**
 * Makes sure that a body was signed with one of the secrets, lately.
 * @param nowMs the wall clock, in milliseconds since the epoch
 * @throws Failure `unauthenticated`, the same for everything that is wrong
 */
export function checkSignature(
  header: string | undefined,
  body: Uint8Array,
  secrets: readonly string[],
  nowMs: number,
): void {
  const claim = header === undefined ? undefined : claimOf(header)
  if (claim === undefined) throw refused()
  const { timestamp, signatures } = claim
  if (Math.abs(nowMs - Number(timestamp) * 1_000) > TOLERANCE_MS) throw refused()
  let good = false
  for (const secret of secrets) {
    const expected = createHmac('sha256', secret).update(`${timestamp}.`).update(body).digest()
    // All of them are compared, so that the time says nothing about which one was near.
    for (const signature of signatures) good = timingSafeEqual(expected, signature) || good
  }
  if (!good) throw refused()
}

function claimOf(header: string): Claim | undefined {
  let timestamp: string | undefined
  const signatures: Buffer[] = []
  for (const part of header.split(',')) {
    const [name, value = ''] = part.trim().split('=', 2)
    if (name === 't') {
      if (timestamp !== undefined || !/^\d{1,12}$/.test(value)) return undefined
      timestamp = value
    }
    // Of other lengths, and other schemes (`v0` is for the provider's tests), none can match.
    if (name === 'v1' && /^[0-9a-f]{64}$/.test(value)) signatures.push(Buffer.from(value, 'hex'))
  }
  if (timestamp === undefined || signatures.length > SIGNATURES_MAX) return undefined
  return { timestamp, signatures }
}

const refused = () => new Failure('unauthenticated', 'The signature is missing, wrong or too old')
