// Verifies the access tokens that our server issues (HS256): every peer does this for each
// connection, as our server does.
import { createHmac, timingSafeEqual } from 'node:crypto'

const secret = process.env.JWT_SECRET

/**
 * The claims of a valid token, or null.
 * @param {string} token
 * @returns {{ sub: string } | null}
 */
export function verify(token) {
  const end = token.lastIndexOf('.')
  if (end < 0) return null
  const wanted = createHmac('sha256', secret).update(token.slice(0, end)).digest()
  const given = Buffer.from(token.slice(end + 1), 'base64url')
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return null
  const claims = Buffer.from(token.slice(token.indexOf('.') + 1, end), 'base64url')
  const { exp, sub } = JSON.parse(claims.toString())
  return exp * 1000 > Date.now() ? { sub } : null
}

/**
 * The token of an upgrade request.
 * @param {string} url
 */
export function tokenOf(url) {
  return url.slice(url.indexOf('token=') + 6)
}
