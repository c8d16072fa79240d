import { Failure } from '../src/base/errors.ts'

/** The subprotocol that a server answers with when a client names it. */
export const PROTOCOL = 'rialto.v1'

/** What a request for a socket brings to say who it is; nothing means a first frame will. */
export interface Credentials {
  readonly token: string | undefined
  readonly ticket: string | undefined
  /** The client offered our subprotocol, so the answer must name it. */
  readonly protocol: boolean
}

/**
 * Reads the credentials of an upgrade: `?token=`, `?ticket=`, or a subprotocol
 * `bearer.<token>` (browsers can set no header). The query is cut by hand: a storm of reconnects
 * is no time for a URL parser.
 *
 * @throws Failure `bad_request` on broken percent-encoding
 */
export function credentialsOf(request: Request): Credentials {
  const offered = request.headers.get('sec-websocket-protocol')
  let protocol = false
  let token = queryValue(request.url, 'token')
  if (offered !== null) {
    for (const item of offered.split(',')) {
      const name = item.trim()
      if (name === PROTOCOL) protocol = true
      else if (name.startsWith('bearer.')) token ??= name.slice('bearer.'.length)
    }
  }
  return {
    token,
    ticket: token === undefined ? queryValue(request.url, 'ticket') : undefined,
    protocol,
  }
}

function queryValue(url: string, name: string): string | undefined {
  const query = url.indexOf('?')
  if (query < 0) return undefined
  let at = query + 1
  while (at < url.length) {
    const end = url.indexOf('&', at) < 0 ? url.length : url.indexOf('&', at)
    if (url.startsWith(`${name}=`, at)) return decoded(url.slice(at + name.length + 1, end))
    at = end + 1
  }
  return undefined
}

function decoded(value: string): string {
  if (!value.includes('%')) return value
  try {
    return decodeURIComponent(value)
  } catch {
    throw new Failure('bad_request', 'Broken percent-encoding in the query')
  }
}
