import type { OutboundResult } from '../drivers/outbound/index.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { VERSION } from '../version.ts'
import type { Attempt } from './deliveries.ts'
import { type EndpointRow, openSecret } from './endpoints.ts'
import { Out } from './out.ts'
import { type Message, signedHeaders } from './signature.ts'

/** The answer that ends an endpoint (RFC 9110, 15.5.11). */
export const GONE = 410

/** What an attempt needs to know of an endpoint. */
export type Sendable = Pick<
  EndpointRow,
  'id' | 'url' | 'secret' | 'previous_secret' | 'previous_until'
>

/**
 * Sends a message to an endpoint, once. Nobody's failure is an error here.
 * @throws VaultError when a secret does not open; the reason of `signal`
 */
export async function attempt(
  kernel: Kernel,
  endpoint: Sendable,
  message: Message,
  signal: AbortSignal,
): Promise<Attempt> {
  const { clock } = kernel
  const { body } = message
  const headers = {
    'Content-Type': 'application/json',
    'User-Agent': `Rialto/${VERSION}`,
    ...signedHeaders(message, clock.now(), secretsOf(kernel, endpoint)),
  }
  const request = { url: new URL(endpoint.url), headers, body }
  const result = await kernel.use(Out).post(request, signal)
  observe(kernel, result)
  return attemptOf(result)
}

/** The secret, and the one before while that is known too. */
function secretsOf({ vault, clock }: Kernel, endpoint: Sendable): readonly Buffer[] {
  const { id, secret, previous_secret: previous, previous_until: until } = endpoint
  const secrets = [openSecret(vault, id, 'secret', secret)]
  if (previous !== null && until !== null && until.getTime() > clock.now()) {
    secrets.push(openSecret(vault, id, 'previous_secret', previous))
  }
  return secrets
}

const isGood = (status: number) => status >= 200 && status < 300

function attemptOf(result: OutboundResult): Attempt {
  const { durationMs } = result
  if (result.kind === 'failure') {
    const error = `${result.reason}: ${result.detail}`.slice(0, 300)
    return { ok: false, status: null, error, durationMs, answer: null, retryAfterMs: undefined }
  }
  const { status, body: answer } = result
  const ok = isGood(status)
  // Others may send the header as well, and mean something else.
  const waits = status === 429 || status === 503
  const retryAfterMs = waits ? result.retryAfterMs : undefined
  return { ok, status, error: ok ? null : errorOf(status), durationMs, answer, retryAfterMs }
}

function errorOf(status: number): string {
  if (status >= 300 && status < 400) return 'redirection: they are not followed'
  return `status: answered ${status}`
}

function observe({ metrics }: Kernel, result: OutboundResult): void {
  const outcome = result.kind === 'failure' ? result.reason : `${Math.floor(result.status / 100)}xx`
  const counter = metrics.counter(
    'webhook_attempts_total',
    'Attempts to deliver an event, by class of status or reason of failure',
    ['outcome'],
  )
  counter.labels({ outcome }).inc()
  const seconds = metrics.histogram(
    'webhook_attempt_seconds',
    'Time of an attempt to deliver an event, by whether there was an answer',
    ['outcome'],
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15],
  )
  seconds.labels({ outcome: result.kind }).observe(result.durationMs / 1_000)
}
