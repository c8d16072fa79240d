import { timingSafeEqual } from 'node:crypto'
import { Failure } from '../base/errors.ts'
import { isLoopback } from '../net/address.ts'
import type { RouteLog } from './access-log.ts'
import { bearerToken } from './admission.ts'
import { answerEmpty, answerFailure, answerJson } from './answer.ts'
import { RestCall } from './call.ts'
import type { Edge, PartState } from './edge.ts'
import type { MountedRoute } from './fallback.ts'
import type { Endpoint } from './mount.ts'

/** Answers one call of a system route. */
export type SystemAnswer = (call: RestCall, log: RouteLog) => Response | Promise<Response>

/** Makes a GET route that is no operation; whatever it throws becomes a problem. */
export function systemRoute(edge: Edge, path: string, answer: SystemAnswer): MountedRoute {
  const log = edge.accessLog('GET', path)
  const endpoint: Endpoint = (request) => {
    const call = new RestCall(edge, request)
    const failed = (error: unknown) => answerFailure(edge, call, log, error)
    try {
      const response = answer(call, log)
      return response instanceof Promise ? response.catch(failed) : response
    } catch (error) {
      return failed(error)
    }
  }
  return { method: 'GET', path, endpoint }
}

/** Health, metrics, the index, and silence for browsers that look for an icon. */
export function systemRoutes(edge: Edge): MountedRoute[] {
  const json = (path: string, value: unknown) =>
    systemRoute(edge, path, (call, log) => answerJson(edge, call, log, 200, value))
  return [
    json('/', {
      name: 'Rialto',
      version: edge.version,
      api: '/api/v1',
      documentation: '/api',
      openapi: '/api-json',
      sockets: '/ws',
      asyncapi: '/asyncapi.json',
      health: '/health',
    }),
    json('/health', { status: 'ok' }),
    readinessRoute(edge),
    metricsRoute(edge),
    systemRoute(edge, '/favicon.ico', (call, log) => answerEmpty(edge, call, log, 204)),
  ]
}

/** Asks the parts once for all who ask at the same time: strangers may call this. */
function readinessRoute(edge: Edge): MountedRoute {
  let asking: Promise<Record<string, PartState>> | undefined
  return systemRoute(edge, '/health/ready', async (call, log) => {
    asking ??= edge.readiness().finally(() => (asking = undefined))
    const parts = await asking
    const ready = Object.values(parts).every(({ ok }) => ok)
    const body = { status: ready ? 'ready' : 'not_ready', parts }
    return answerJson(edge, call, log, ready ? 200 : 503, body)
  })
}

function metricsRoute(edge: Edge): MountedRoute {
  const { metrics } = edge.kernel
  return systemRoute(edge, '/metrics', (call, log) => {
    checkMetricsAccess(edge, call)
    const response = new Response(metrics.render(), {
      headers: {
        ...edge.headers.security,
        'cache-control': 'no-store',
        'content-type': metrics.contentType,
      },
    })
    log(call, 200)
    return response
  })
}

/** Headers that only a proxy sends. */
const PROXY_HEADERS = ['x-forwarded-for', 'forwarded', 'via', 'x-real-ip']

function checkMetricsAccess(edge: Edge, call: RestCall): void {
  const { metricsToken } = edge.kernel.config
  if (metricsToken !== undefined) {
    const token = bearerToken(call.request.headers)
    if (token !== undefined && sameSecret(token, metricsToken)) return
    throw new Failure('unauthenticated', 'Metrics need the bearer token METRICS_TOKEN')
  }
  // A proxy on this machine that nobody has declared: its clients look like the machine itself.
  const undeclared =
    edge.trusted.none && PROXY_HEADERS.some((name) => call.request.headers.has(name))
  if (!isLoopback(call.address) || undeclared) {
    throw new Failure('forbidden', 'Metrics are for this machine, or with METRICS_TOKEN')
  }
}

/** Compares in a time that tells nothing; hashed first, because lengths would tell too. */
function sameSecret(given: string, wanted: string): boolean {
  const hash = (text: string) => new Bun.CryptoHasher('sha256').update(text).digest()
  return timingSafeEqual(hash(given), hash(wanted))
}
