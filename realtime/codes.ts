/**
 * Close codes are policy: below 4500 a client reconnects with jittered back-off, from 4500 on it
 * does not, because the same attempt would end in the same way.
 */
export const CLOSE = {
  going_away: { code: 1001, reason: 'going away' },
  too_big: { code: 1009, reason: 'frame too big' },
  stale: { code: 4000, reason: 'no heartbeat' },
  slow_consumer: { code: 4001, reason: 'too slow to read' },
  overloaded: { code: 4002, reason: 'server overloaded' },
  insufficient_state: { code: 4003, reason: 'insufficient state, resubscribe' },
  bad_frame: { code: 4500, reason: 'bad frame' },
  unauthenticated: { code: 4501, reason: 'unauthenticated or expired' },
  session_revoked: { code: 4502, reason: 'session revoked' },
  forbidden: { code: 4503, reason: 'forbidden' },
  too_many_connections: { code: 4504, reason: 'too many connections' },
  too_many_errors: { code: 4505, reason: 'too many errors' },
} as const satisfies Record<string, { code: number; reason: string }>

export type CloseName = keyof typeof CLOSE

/** Sizes and times of a connection, one row each. */
export interface GatewayLimits {
  /** Longest frame from a client, in bytes. */
  readonly frameBytesMax: number
  readonly channelsMax: number
  readonly connectionsPerUserMax: number
  /** Sockets of this instance; a bound on memory. */
  readonly connectionsMax: number
  /** Sockets that have not said who they are. */
  readonly unauthenticatedMax: number
  /** Outgoing bytes that may wait for a slow reader. */
  readonly outgoingBytesMax: number
  /** A ping goes out after this much silence … */
  readonly heartbeatMs: number
  /** … and the socket is dead after this much more. */
  readonly deadAfterMs: number
  /** For the first frame `authenticate`. */
  readonly authenticateMs: number
  /** Frames of one socket that may wait for their turn. */
  readonly framesWaitingMax: number
  /** Bad frames within a minute. */
  readonly errorsPerMinuteMax: number
}

export const GATEWAY_LIMITS: GatewayLimits = {
  frameBytesMax: 64 * 1024,
  channelsMax: 128,
  connectionsPerUserMax: 10,
  connectionsMax: 200_000,
  unauthenticatedMax: 2_000,
  outgoingBytesMax: 1024 * 1024,
  heartbeatMs: 25_000,
  deadAfterMs: 8_000,
  authenticateMs: 10_000,
  framesWaitingMax: 5_000,
  errorsPerMinuteMax: 20,
}
