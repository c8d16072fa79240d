/** Which pages of browsers may call: those named, and in development those of this machine. */
export interface AllowedOrigins {
  readonly origins: readonly string[]
  readonly localhostAllowed: boolean
}

const LOCAL_PAGE = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/

/** Whether pages of `origin` may call this server, over REST and over sockets alike. */
export function originAllowed(cors: AllowedOrigins, origin: string): boolean {
  return cors.origins.includes(origin) || (cors.localhostAllowed && LOCAL_PAGE.test(origin))
}
