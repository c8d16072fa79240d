import type { Clock } from '../../../base/clock.ts'
import { literalAddress, type Networks } from '../networks.ts'
import type { Outbound, OutboundFailure, OutboundRequest } from '../port.ts'
import { connect } from './connect.ts'
import { exchange, type Exchange } from './exchange.ts'
import type { Resolve } from './names.ts'
import { Trouble } from './trouble.ts'

/** What the driver is made of. */
export interface DirectOutboundParts {
  readonly clock: Clock
  readonly networks: Networks
  readonly resolve: Resolve
  /** Trusted beside the authorities that every program trusts; PEM. */
  readonly ca?: string
}

/** Name, connection and status together, in ms. */
const ANSWER_MS_MAX = 15_000
/** Addresses of one name that are tried. */
const ADDRESSES_MAX = 3
const DAY_MS = 86_400_000

/**
 * Straight to the address, over a connection for each request.
 *
 * Against requests into networks that only this server reaches (server-side request forgery): the
 * name is looked up here, every address that comes of it is held against the rule, and the
 * connection is made to that address and no other; so a name that leads elsewhere the second time
 * (DNS rebinding) leads nowhere. Redirections are not followed.
 */
export function directOutbound(parts: DirectOutboundParts): Outbound {
  const { clock, networks } = parts
  return {
    refusal: (url) => networks.refusal(url),
    async post(request, signal) {
      const startMs = clock.monotonicMs()
      const within = new AbortController()
      const onAbort = () => within.abort(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      const late = clock.setTimeout(() => {
        within.abort(new Trouble('timeout', `No answer within ${ANSWER_MS_MAX / 1_000} s`))
      }, ANSWER_MS_MAX)
      try {
        signal.throwIfAborted()
        const { status, retryAfter, body } = await send(parts, request, within.signal)
        const retryAfterMs = retryAfterOf(retryAfter, clock.now())
        return { kind: 'answer', status, retryAfterMs, body, durationMs: since(clock, startMs) }
      } catch (error) {
        if (!(error instanceof Trouble)) throw error
        return failure(error, since(clock, startMs))
      } finally {
        late.cancel()
        signal.removeEventListener('abort', onAbort)
      }
    },
  }
}

const since = (clock: Clock, startMs: number) => Math.round(clock.monotonicMs() - startMs)

const failure = ({ reason, message }: Trouble, durationMs: number): OutboundFailure => ({
  kind: 'failure',
  reason,
  detail: message,
  durationMs,
})

async function send(
  parts: DirectOutboundParts,
  request: OutboundRequest,
  signal: AbortSignal,
): Promise<Exchange> {
  const { clock, networks, ca } = parts
  const { url } = request
  const refused = networks.refusal(url)
  if (refused !== undefined) throw new Trouble('refused', refused)
  const addresses = await addressesOf(parts, url, signal)
  const encrypted = url.protocol === 'https:'
  const name = url.hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '')
  const port = url.port === '' ? (encrypted ? 443 : 80) : Number(url.port)
  let last: unknown
  for (const address of addresses) {
    try {
      const target = { address, port, certified: encrypted ? name : undefined, ca }
      return await exchange(clock, await connect(clock, target, signal), request, signal)
    } catch (error) {
      // Only what nobody has heard of may be tried elsewhere.
      if (!(error instanceof Trouble) || error.reason !== 'unreachable') throw error
      last = error
    }
  }
  throw last
}

/** The addresses that a URL leads to and that may be connected to. */
async function addressesOf(
  { networks, resolve }: DirectOutboundParts,
  url: URL,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const literal = literalAddress(url)
  if (literal !== undefined) return [literal]
  const found = await orAborted(resolve(url.hostname), signal).catch((error: unknown) => {
    if (signal.aborted) throw error
    return []
  })
  const permitted = found.filter((address) => networks.permits(address, url.protocol))
  if (permitted.length > 0) return permitted.slice(0, ADDRESSES_MAX)
  // The same for a name that leads inside: nobody learns by trying which names there are.
  throw new Trouble('name', `${url.hostname} has no address that may be sent to`)
}

async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Seconds, or a moment as HTTP writes them; nobody is made to wait for more than a day. */
function retryAfterOf(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined
  const seconds = /^\d{1,10}$/.test(text)
  if (!seconds && !text.endsWith(' GMT')) return undefined
  const ms = seconds ? Number(text) * 1_000 : Date.parse(text) - nowMs
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), DAY_MS)
}
