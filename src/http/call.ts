import type { Clock } from '../base/clock.ts'
import { uuidv7 } from '../base/ids.ts'
import type { RequestInfo } from '../kernel/access.ts'
import { clientAddress, type TrustedProxies } from '../net/address.ts'
import type { QuotaState } from './quota.ts'

const SANE_ID = /^[A-Za-z0-9._-]{1,64}$/

/** What a call asks of its edge. */
interface CallSource {
  readonly kernel: { readonly clock: Clock }
  readonly trusted: TrustedProxies
  readonly socketAddress: (request: Request) => string
}

/**
 * One request on its way through the edge. What an ordinary answer does not need (an id, the
 * client's address) is only made when somebody asks for it.
 */
export class RestCall implements RequestInfo {
  readonly transport = 'rest'
  readonly connectionId = undefined
  readonly request: Request
  readonly startMs: number
  /** Set when the request was counted against its address. */
  quota: QuotaState | undefined = undefined
  // Not `#private`: a request makes one of these, and those cost three times as much to set.
  private readonly edge: CallSource
  private idOnce: string | undefined = undefined
  private addressOnce: string | undefined = undefined

  constructor(edge: CallSource, request: Request) {
    this.edge = edge
    this.request = request
    this.startMs = edge.kernel.clock.monotonicMs()
  }

  /** `X-Request-Id` as the client sent it, when it is one. */
  get givenId(): string | null {
    const given = this.request.headers.get('x-request-id')
    return given !== null && SANE_ID.test(given) ? given : null
  }

  get id(): string {
    return (this.idOnce ??= this.givenId ?? uuidv7(this.edge.kernel.clock.now()))
  }

  get address(): string {
    return (this.addressOnce ??= clientAddress(
      this.request,
      this.edge.socketAddress(this.request),
      this.edge.trusted,
    ))
  }

  get userAgent(): string | undefined {
    return this.request.headers.get('user-agent') ?? undefined
  }
}
