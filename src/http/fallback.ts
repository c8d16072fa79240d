import type { Registry } from '../kernel/feature.ts'
import { Failure } from '../kernel/errors.ts'
import { admit } from './admission.ts'
import { answerEmpty, answerFailure } from './answer.ts'
import { RestCall } from './call.ts'
import type { Edge } from './edge.ts'
import { type Endpoint, PREFIXES } from './mount.ts'

/** Which methods a path has; only asked when a request has found no route. */
export type MethodTable = (path: string) => string[]

/** Collects the methods of every path, operations and system routes alike. */
export function methodTable(registry: Registry, systemPaths: readonly string[]): MethodTable {
  const table = new Map<string, Set<string>>()
  const add = (path: string, method: string) => {
    const methods = table.get(path) ?? new Set()
    table.set(path, methods.add(method))
    if (method === 'GET') methods.add('HEAD')
  }
  for (const path of systemPaths) add(path, 'GET')
  for (const { routes } of registry.operations.values()) {
    for (const { method, path } of routes) for (const each of PREFIXES) add(each + path, method)
  }
  const patterns = [...table].map(([path, methods]) => ({ parts: path.split('/'), methods }))

  return (path) => {
    const parts = path.replace(/(?<=.)\/$/, '').split('/')
    const found = patterns.filter((pattern) => matches(pattern.parts, parts))
    return [...new Set(found.flatMap(({ methods }) => [...methods]))].toSorted()
  }
}

function matches(pattern: readonly string[], parts: readonly string[]): boolean {
  if (pattern.length !== parts.length) return false
  return pattern.every((part, i) => (part.startsWith(':') ? parts[i] !== '' : part === parts[i]))
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
        return answerFailure(edge, call, log, failure, undefined, { allow })
      }
      // Whoever tries addresses without signing in is counted as for those that exist.
      if (path.startsWith('/api/')) admit(edge, call, { open: true, guessable: false })
      throw new Failure('not_found', 'There is no such address')
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
