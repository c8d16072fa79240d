import { Failure } from '../base/errors.ts'
import { admit } from './admission.ts'
import { answerEmpty, answerFailure } from './answer.ts'
import { RestCall } from './call.ts'
import type { Edge } from './edge.ts'
import type { Endpoint } from './mount.ts'

/** A route as the routers take it. */
export interface MountedRoute {
  readonly method: string
  /** With the prefix; parameters begin with a colon. */
  readonly path: string
  readonly endpoint: Endpoint
}

/** Which methods a path has; only asked when a request has found no route. */
export type MethodTable = (path: string) => string[]

const isStatic = (path: string) => !path.includes(':')

/** Collects the methods of every path. As in OpenAPI, a literal path wins over a template. */
export function methodTable(mounted: readonly Omit<MountedRoute, 'endpoint'>[]): MethodTable {
  const table = new Map<string, string[]>()
  for (const { method, path } of mounted) {
    const methods = table.get(path) ?? []
    table.set(path, methods)
    methods.push(...(method === 'GET' ? ['GET', 'HEAD'] : [method]))
  }
  const templates = [...table]
    .filter(([path]) => !isStatic(path))
    .map(([path, methods]) => ({ parts: path.split('/'), methods }))

  return (path) => {
    const trimmed = path.replace(/(?<=.)\/$/, '')
    const literal = table.get(trimmed)
    if (literal !== undefined) return literal.toSorted()
    const parts = trimmed.split('/')
    const found = templates.filter((template) => matches(template.parts, parts))
    return [...new Set(found.flatMap(({ methods }) => methods))].toSorted()
  }
}

function matches(template: readonly string[], parts: readonly string[]): boolean {
  if (template.length !== parts.length) return false
  return template.every((part, i) => (part.startsWith(':') ? parts[i] !== '' : part === parts[i]))
}

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']

/**
 * Routes that answer 405 for the methods which a literal path does not have. Without them,
 * `DELETE /users/me` would be a `DELETE /users/:id`.
 */
export function refusedMethods(
  mounted: readonly MountedRoute[],
  methodsOf: MethodTable,
  fallback: Endpoint,
): MountedRoute[] {
  const paths = new Set(mounted.map(({ path }) => path).filter(isStatic))
  return [...paths].flatMap((path) => {
    const has = methodsOf(path)
    return METHODS.filter((method) => !has.includes(method)).map((method) => ({
      method,
      path,
      endpoint: fallback,
    }))
  })
}

/** Where the path begins in an address; without a valid `Host` there is nothing before it. */
export function pathStart(url: string): number {
  return url.startsWith('/') ? 0 : url.indexOf('/', url.indexOf('://') + 3)
}

/** The path of an address, without query or fragment. */
export function pathOf(url: string): string {
  const target = url.slice(pathStart(url))
  const end = target.search(/[?#]/)
  return end === -1 ? target : target.slice(0, end)
}

const UNGUARDED = { open: true, guessable: false }

/** Answers what has no route: 405 where another method would do, else 404. */
export function fallbackEndpoint(edge: Edge, methodsOf: MethodTable): Endpoint {
  const log = edge.accessLog('any', 'none')
  return (request) => {
    const call = new RestCall(edge, request)
    try {
      const path = pathOf(request.url)
      const methods = methodsOf(path)
      if (methods.length > 0) {
        const failure = new Failure('method_not_allowed', `Not with ${request.method}`)
        const allow = [...methods, 'OPTIONS'].join(', ')
        return answerFailure(edge, call, log, failure, { allow })
      }
      const absent = new Failure('not_found', 'There is no such address')
      // Whoever tries addresses without signing in is counted as for those that exist.
      const caller = path.startsWith('/api/') ? admit(edge, call, UNGUARDED) : null
      if (!(caller instanceof Promise)) throw absent
      return caller.then(
        () => answerFailure(edge, call, log, absent),
        (error: unknown) => answerFailure(edge, call, log, error),
      )
    } catch (error) {
      return answerFailure(edge, call, log, error)
    }
  }
}

/** Answers OPTIONS: what a browser asks before a request of another origin, or which methods. */
export function optionsEndpoint(edge: Edge, methodsOf: MethodTable): Endpoint {
  const log = edge.accessLog('OPTIONS', 'any')
  return (request) => {
    const call = new RestCall(edge, request)
    if (!request.headers.has('access-control-request-method')) {
      const allow = [...methodsOf(pathOf(request.url)), 'OPTIONS'].join(', ')
      return answerEmpty(edge, call, log, 204, { allow })
    }
    const headers = edge.headers.preflight(request.headers.get('origin'))
    const response = new Response(null, { status: 204, headers })
    log(call, 204)
    return response
  }
}
