import { createHmac } from 'node:crypto'
import { randomBytes } from '../base/ids.ts'

/**
 * Signing as Standard Webhooks 1.0.0 has it (github.com/standard-webhooks/standard-webhooks): any
 * receiver that knows the scheme can check what we send with a library that exists.
 */

/** The specification wants 24 to 64. */
const SECRET_BYTES = 32

/** A new secret. */
export function newSecret(): Buffer {
  return Buffer.from(randomBytes(SECRET_BYTES))
}

/** A secret as its owner gets to see it: `whsec_` and base64. */
export function secretText(secret: Uint8Array): string {
  return `whsec_${Buffer.from(secret).toString('base64')}`
}

/** What is signed. */
export interface Message {
  /** The same for every copy of an event. */
  readonly id: string
  readonly body: string
}

/**
 * The headers that make a body a message of ours: `webhook-id`, `webhook-timestamp`, and
 * `webhook-signature` with one signature for each secret, so that a receiver who knows either the
 * old or the new one of two is served.
 *
 * @param nowMs the moment of this attempt, which keeps old copies from being played again
 */
export function signedHeaders(
  { id, body }: Message,
  nowMs: number,
  secrets: readonly Uint8Array[],
): Record<string, string> {
  const timestamp = String(Math.floor(nowMs / 1_000))
  const text = `${id}.${timestamp}.${body}`
  const signatures = secrets.map(
    (secret) => `v1,${createHmac('sha256', secret).update(text).digest('base64')}`,
  )
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  }
}
