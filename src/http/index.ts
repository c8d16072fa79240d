/**
 * The HTTP edge: operations as REST, the documents made from them, health and metrics.
 *
 * It knows Elysia and `Request`; nothing behind it does. It decides nothing about operations: it
 * turns a request into a call, and an outcome or a failure into an answer. One edge a server;
 * requests share only the quota of addresses, the prepared headers and the metrics. May import the
 * kernel and configuration; what the sockets say is handed over for the documents.
 */

import type { BunRequest } from 'bun'
import { Elysia } from 'elysia'
import { Failure } from '../base/errors.ts'
import { trustedProxies } from '../net/address.ts'
import { createAccessLog } from './access-log.ts'
import { answerFailure } from './answer.ts'
import { RestCall } from './call.ts'
import { docsRoutes } from './docs.ts'
import type { Edge, HttpOptions } from './edge.ts'
import {
  fallbackEndpoint,
  methodTable,
  type MountedRoute,
  optionsEndpoint,
  refusedMethods,
} from './fallback.ts'
import { createAnswerHeaders } from './headers.ts'
import { accountRoutes } from './mailed-pages.ts'
import { type Endpoint, operationEndpoint, positional, PREFIXES } from './mount.ts'
import { createAddressQuota } from './quota.ts'
import { systemRoutes } from './system.ts'
import { encryptionCheck } from './transport.ts'

/** What the edge asks of `Bun.serve`. */
interface Listener {
  requestIP(request: Request): { address: string } | null
}

type Handler<R extends Request> = (request: R, listener: Listener) => Response | Promise<Response>

/** The REST side of a server, given to the one `Bun.serve` beside the sockets. */
export interface Http {
  /** Answers any request; never throws, and never rejects. */
  readonly fetch: Handler<Request>
  /**
   * The operations that read, once more for `Bun.serve`'s own router: `fetch` answers them in the
   * same way, a tenth slower (`docs/decisions/005-http-edge.md`).
   */
  readonly routes: Readonly<Record<string, { readonly GET: Handler<BunRequest> }>>
}

/**
 * Mounts the operations and the server's own routes.
 *
 * @example
 * const http = createHttp({ kernel, executor, authenticate, readiness, version, sockets })
 * Bun.serve({ fetch: http.fetch, routes: http.routes })
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
  const log = edge.accessLog('any', 'unroutable')
  const guarded =
    <R extends Request>(answer: (request: R) => Response | Promise<Response>): Handler<R> =>
    (request, from) => {
      listener = from
      try {
        return check(request) ?? answer(request)
      } catch (error) {
        return answerFailure(edge, new RestCall(edge, request), log, error)
      }
    }

  const mounted = mountedRoutes(edge)
  return {
    fetch: guarded(createRouter(edge, mounted)),
    routes: Object.fromEntries(
      mounted.operations
        .filter(({ method }) => method === 'GET')
        .map(({ path, endpoint }) => [
          path,
          { GET: guarded((request: BunRequest) => endpoint(request, request.params)) },
        ]),
    ),
  }
}

interface Mounted {
  /** The operations, and the methods that their literal paths refuse. */
  readonly operations: readonly MountedRoute[]
  readonly system: readonly MountedRoute[]
  readonly fallback: Endpoint
  readonly options: Endpoint
}

function mountedRoutes(edge: Edge): Mounted {
  const system = [...systemRoutes(edge), ...docsRoutes(edge), ...accountRoutes(edge)]
  const operations = operationRoutes(edge)
  const methodsOf = methodTable([...system, ...operations])
  const fallback = fallbackEndpoint(edge, methodsOf)
  return {
    operations: [...operations, ...refusedMethods(operations, methodsOf, fallback)],
    system,
    fallback,
    options: optionsEndpoint(edge, methodsOf),
  }
}

function operationRoutes(edge: Edge): MountedRoute[] {
  return [...edge.registry.operations.values()].flatMap((operation) =>
    operation.routes.flatMap((route) => {
      const endpoint = operationEndpoint(edge, operation, route)
      return PREFIXES.map((prefix) => ({
        method: route.method,
        path: prefix + positional(route.path),
        endpoint,
      }))
    }),
  )
}

type Router = (request: Request) => Response | Promise<Response>

/**
 * Elysia finds the route and calls its endpoint; it validates, parses and derives nothing, which
 * would cost a tenth of the rate.
 */
function createRouter(edge: Edge, { operations, system, fallback, options }: Mounted): Router {
  const app = new Elysia({
    normalize: false,
    // Where Elysia looks for the path: by default it takes `http://a.b/c/d` for `/d`.
    handler: { standardHostname: edge.kernel.config.tls !== undefined },
  })
  for (const { method, path, endpoint } of [...system, ...operations]) {
    app.route(method, path, handlerOf(endpoint))
  }
  app.options('/*', handlerOf(options))
  app.all('/*', handlerOf(fallback))
  app.compile()
  const hostless = hostlessRouter(system)
  return (request) => (request.url.startsWith('http') ? app.fetch(request) : hostless(request))
}

/**
 * HTTP/1.0 without a `Host` (probes of load balancers), or with one that is no host: Bun gives no
 * full address then, and Elysia would look for the path in the wrong place.
 */
function hostlessRouter(system: readonly MountedRoute[]): Router {
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

function callEndpoint(this: Endpoint, { request, params }: RouteContext) {
  return this(request, params)
}

/**
 * Elysia reads a handler's source to guess what it uses, and takes one that returns a call for
 * slow: it is awaited, which costs a tenth. A bound function has no source to misread.
 */
function handlerOf(endpoint: Endpoint) {
  return callEndpoint.bind(endpoint)
}
