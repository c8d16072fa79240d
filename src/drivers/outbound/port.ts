/** What the product asks of the network when it tells somebody something they wanted to be told. */
export interface Outbound {
  /**
   * Why nothing may be sent to an address, as a sentence; undefined when it may be tried. Looks up
   * no names: what one leads to is looked at when something is sent, each time.
   */
  refusal(url: URL): string | undefined
  /**
   * Posts a body. Whatever the other side does or does not do is a result.
   * @throws the reason of `signal`, when that is aborted
   */
  post(request: OutboundRequest, signal: AbortSignal): Promise<OutboundResult>
}

/** One request. */
export interface OutboundRequest {
  readonly url: URL
  /** Beside `Host`, `Content-Length` and `Connection`. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** What came of it. */
export type OutboundResult = OutboundAnswer | OutboundFailure

/** The other side has answered, whatever it said. Redirections are answers: they are not followed. */
export interface OutboundAnswer {
  readonly kind: 'answer'
  readonly status: number
  /** `Retry-After` (RFC 9110, 10.2.3) in milliseconds from now, if there was one. */
  readonly retryAfterMs: number | undefined
  /** How the body begins, as text: at most 1 KiB of it is read. */
  readonly body: string
  readonly durationMs: number
}

/** There was no answer. */
export interface OutboundFailure {
  readonly kind: 'failure'
  readonly reason: OutboundTrouble
  /** A sentence for the operator of the other side; names no address of a network that is closed. */
  readonly detail: string
  readonly durationMs: number
}

/**
 * Why there was no answer.
 * - `refused`: the address may not be sent to: see `refusal`, or what its name leads to
 * - `name`: the name leads nowhere
 * - `unreachable`: nobody takes the connection
 * - `tls`: no certificate for that name that can be trusted, or no common protocol
 * - `timeout`: not within the time
 * - `broken`: the connection ended, or what came was not HTTP
 */
export type OutboundTrouble = 'refused' | 'name' | 'unreachable' | 'tls' | 'timeout' | 'broken'
