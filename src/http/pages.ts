import { answerEmpty } from './answer.ts'
import type { RouteLog } from './access-log.ts'
import type { RestCall } from './call.ts'
import type { Edge } from './edge.ts'
import type { MountedRoute } from './fallback.ts'
import { systemRoute } from './system.ts'

/** The few pages that the server itself has, and what they load. */

/** Everything a page loads comes from this server; nothing inline runs. */
const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** A page, or a text that one loads; made at each request, sent when it has changed. */
export function textRoute(
  edge: Edge,
  path: string,
  type: string,
  text: () => string,
): MountedRoute {
  let tag: string | undefined
  return systemRoute(edge, path, (call, log) => {
    tag ??= `"${Bun.hash(text()).toString(36)}"`
    return cached(edge, call, log, tag, text(), type)
  })
}

/** Answers with a page or one of its files, or that the browser's copy is still right. */
export function cached(
  edge: Edge,
  call: RestCall,
  log: RouteLog,
  etag: string,
  body: string | Blob,
  type: string,
): Response {
  const caching = { etag, 'cache-control': 'no-cache' }
  if (call.request.headers.get('if-none-match') === etag) {
    return answerEmpty(edge, call, log, 304, caching)
  }
  const headers = new Headers(edge.headers.of('json', call.request.headers.get('origin')))
  for (const [name, value] of Object.entries(caching)) headers.set(name, value)
  headers.set('content-type', type)
  headers.set('content-security-policy', PAGE_POLICY)
  const response = new Response(body, { headers })
  log(call, 200)
  return response
}
