/**
 * The HTTP edge: operations as REST, the documents made from them, health and metrics.
 *
 * It knows Elysia and `Request`; nothing behind it does. It decides nothing about operations: it
 * turns a request into a call, and an outcome or a failure into an answer. One edge a server;
 * requests share only the quota of addresses, the prepared headers and the metrics. May import the
 * kernel and configuration; what the sockets say is handed over for the documents.
 */

import { Elysia } from 'elysia'
import { Failure } from '../kernel/errors.ts'
import { createAccessLog } from './access-log.ts'
import { trustedProxies } from './address.ts'
import { answerFailure } from './answer.ts'
import { RestCall } from './call.ts'
import { docsRoutes } from './docs.ts'
import type { Edge, HttpOptions } from './edge.ts'
import { fallbackEndpoint, methodTable, optionsEndpoint } from './fallback.ts'
import { createAnswerHeaders } from './headers.ts'
import { type Endpoint, operationEndpoint, positional, PREFIXES } from './mount.ts'
import { createAddressQuota } from './quota.ts'
import { type SystemRoute, systemRoutes } from './system.ts'
import { encryptionCheck } from './transport.ts'

/** What the edge asks of `Bun.serve`. */
interface Listener {
  requestIP(request: Request): { address: string } | null
}

/** The REST side of a server, called beside the sockets from the one `Bun.serve`. */
export interface Http {
  /** Answers any request; never throws, and never rejects. */
  fetch(request: Request, listener: Listener): Response | Promise<Response>
}

/**
 * Mounts the operations and the server's own routes.
 *
 * @example
 * const http = createHttp({ kernel, executor, authenticate, readiness, version, sockets })
 * Bun.serve({ fetch: (request, server) => http.fetch(request, server), websocket })
 */
export function createHttp(options: HttpOptions): Http {
  const { kernel } = options
  let listener: Listener | undefined
  const edge: Edge = {
    ...options,
    trusted: trustedProxies(kernel.config.trustedProxies),
    headers: createAnswerHeaders(kernel.config),
    quota: createAddressQuota(kernel.clock, kernel.config.rateLimits),
    accessLog: createAccessLog(kernel),
    socketAddress: (request) => listener?.requestIP(request)?.address ?? 'unknown',
  }
  const check = encryptionCheck(edge)
  const dispatch = createRouter(edge)
  const log = edge.accessLog('any', 'unroutable')

  return {
    fetch(request, from) {
      listener = from
      try {
        return check(request) ?? dispatch(request)
      } catch (error) {
        return answerFailure(edge, new RestCall(edge, request), log, error)
      }
    },
  }
}

type Router = (request: Request) => Response | Promise<Response>

/**
 * Elysia finds the route and calls its endpoint; it validates, parses and derives nothing, which
 * would cost a tenth of the rate.
 */
function createRouter(edge: Edge): Router {
  const app = new Elysia({
    normalize: false,
    // Where Elysia looks for the path: by default it takes `http://a.b/c/d` for `/d`.
    handler: { standardHostname: edge.kernel.config.tls !== undefined },
  })
  const system = [...systemRoutes(edge), ...docsRoutes(edge)]
  for (const { path, endpoint } of system) app.get(path, handlerOf(endpoint))
  for (const operation of edge.kernel.registry.operations.values()) {
    for (const route of operation.routes) {
      const handler = handlerOf(operationEndpoint(edge, operation, route))
      for (const prefix of PREFIXES) {
        app.route(route.method, prefix + positional(route.path), handler)
      }
    }
  }
  const methodsOf = methodTable(
    edge.kernel.registry,
    system.map(({ path }) => path),
  )
  app.options('/*', handlerOf(optionsEndpoint(edge, methodsOf)))
  app.all('/*', handlerOf(fallbackEndpoint(edge, methodsOf)))
  app.compile()
  const hostless = hostlessRouter(system)
  return (request) => (request.url.startsWith('http') ? app.fetch(request) : hostless(request))
}

/**
 * HTTP/1.0 without a `Host` (probes of load balancers), or with one that is no host: Bun gives no
 * full address then, and Elysia would look for the path in the wrong place.
 */
function hostlessRouter(system: readonly SystemRoute[]): Router {
  const endpoints = new Map(system.map(({ path, endpoint }) => [path, endpoint]))
  return (request) => {
    const endpoint = request.method === 'GET' ? endpoints.get(request.url) : undefined
    if (endpoint === undefined) throw new Failure('bad_request', 'The request needs a valid Host')
    return endpoint(request, undefined)
  }
}

interface RouteContext {
  request: Request
  params: Readonly<Record<string, string>> | undefined
}

/**
 * Elysia reads a handler's source: what it names is prepared for it, and one that returns a call
 * is taken for a promise and awaited, which costs a tenth. Hence the variable.
 */
function handlerOf(endpoint: Endpoint) {
  return ({ request, params }: RouteContext) => {
    const response = endpoint(request, params)
    return response
  }
}
