import type { Config } from '../src/config.ts'

const LOCALHOST = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/

/**
 * Whether a browser's page may open a socket. A request without an `Origin` comes from no browser
 * (native apps, services) and is allowed: it needs a token all the same.
 */
export function originAllowed(request: Request, config: Config): boolean {
  const origin = request.headers.get('origin')
  if (origin === null) return true
  if (config.cors.origins.includes(origin)) return true
  if (config.cors.localhostAllowed && LOCALHOST.test(origin)) return true
  return origin === new URL(config.publicUrl).origin
}
