import { Failure } from '../base/errors.ts'
import { arrivedByTls } from '../net/address.ts'
import { answerEmpty, answerFailure } from './answer.ts'
import { RestCall } from './call.ts'
import type { Edge } from './edge.ts'
import { pathOf, pathStart } from './fallback.ts'

/** Looks at how a request arrived; an answer means that it goes no further. */
export type TransportCheck = (request: Request) => Response | undefined

/** What probes and scrapers inside the house ask for without encryption; it holds no secret. */
const PLAIN_PATHS = new Set(['/health', '/health/ready', '/metrics'])

/**
 * In production without TLS of its own, the server answers only what a trusted proxy received
 * encrypted: reads are sent to the public address, anything else is refused, since what it carried
 * has been on the line already.
 */
export function encryptionCheck(edge: Edge): TransportCheck {
  const { production, tls, publicUrl } = edge.kernel.config
  if (!production || tls !== undefined) return () => undefined
  const log = edge.accessLog('any', 'plain')
  return (request) => {
    if (arrivedByTls(request, edge.socketAddress(request), edge.trusted)) return undefined
    if (PLAIN_PATHS.has(pathOf(request.url))) return undefined
    const call = new RestCall(edge, request)
    if (request.method === 'GET' || request.method === 'HEAD') {
      const location = publicUrl + request.url.slice(pathStart(request.url))
      return answerEmpty(edge, call, log, 308, { location })
    }
    const failure = new Failure('forbidden', `Use ${publicUrl}: this server needs HTTPS`)
    return answerFailure(edge, call, log, failure)
  }
}
