import type { Actor, ApiKeyActor, RequestInfo } from '../kernel/access.ts'
import type { Executor } from '../kernel/execute.ts'
import type { Registry } from '../kernel/feature.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { TrustedProxies } from '../net/address.ts'
import type { AccessLog } from './access-log.ts'
import type { SocketProtocol } from './asyncapi.ts'
import type { AnswerHeaders } from './headers.ts'
import type { AddressQuota } from './quota.ts'

/** State of one part of the server, as `/health/ready` shows it. */
export interface PartState {
  readonly ok: boolean
  readonly detail?: string
}

/** What the HTTP edge is made of. */
export interface HttpOptions {
  readonly kernel: Kernel
  /** What is mounted, and what the documents are about. */
  readonly registry: Registry
  readonly executor: Executor
  /** Who a token belongs to; synchronous, throws `Failure` for one that is not accepted. */
  readonly authenticate: (token: string) => Actor
  /** Who an API key speaks for; throws `Failure` for one that is not accepted. */
  readonly authenticateKey: (
    key: string,
    request: RequestInfo,
  ) => ApiKeyActor | Promise<ApiKeyActor>
  /** The parts that serving needs. */
  readonly readiness: () => Promise<Record<string, PartState>>
  /** Version of the product, for the documents. */
  readonly version: string
  /** What the sockets say beside operations and events, for the documents. */
  readonly sockets: SocketProtocol
}

/** What every route has at hand. */
export interface Edge extends HttpOptions {
  readonly trusted: TrustedProxies
  readonly headers: AnswerHeaders
  readonly quota: AddressQuota
  readonly accessLog: AccessLog
  /** The other end of the request's connection; `unknown` once that is gone. */
  readonly socketAddress: (request: Request) => string
}
