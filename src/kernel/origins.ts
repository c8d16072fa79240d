import type { Config } from '../config.ts'

const LOCAL_PAGE = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/

/** Whether pages of `origin` may call this server, over REST and over sockets alike. */
export function originAllowed(cors: Config['cors'], origin: string): boolean {
  return cors.origins.includes(origin) || (cors.localhostAllowed && LOCAL_PAGE.test(origin))
}
