import { Failure } from '../../base/errors.ts'
import type { Actor } from '../../kernel/access.ts'
import { service } from '../../kernel/kernel.ts'
import { createRevocations, type Revocations } from './revocations.ts'
import { redeemTicket } from './tickets.ts'
import { type AccessToken, createAccessTokens, type TokenSubject } from './tokens.ts'

/**
 * Who somebody is, for both edges: the only place that turns a token or a ticket into an actor.
 * Expiry and revocation are looked at on every use.
 */
export interface Authenticator {
  /**
   * Synchronous, from memory alone.
   * @throws Failure `unauthenticated` | `token_expired` | `session_revoked`
   */
  verify(token: string): Actor
  /**
   * Uses up a ticket of `POST auth/ticket`. Ask once an upgrade: a second asking is refused.
   * @throws Failure `unauthenticated` | `session_revoked` | `unavailable`
   */
  redeemTicket(ticket: string): Promise<Actor>
  /** Makes an access token. */
  issue(subject: TokenSubject): Promise<AccessToken>
  /** Whether this session is known to be revoked; for connections that live on. */
  isRevoked(sessionId: string): boolean
  /** Calls `listener` with every session that turns out revoked; returns how to stop that. */
  onRevoked(listener: (sessionIds: readonly string[]) => void): () => void
  /** Takes note of sessions that another instance has announced. */
  applyRevoked(sessionIds: readonly string[]): void
  /** Keeps up with the database until stopped. */
  start(): Promise<() => Promise<void>>
}

/** The authenticator of a server. */
export const Authenticator = service<Authenticator>('authenticator', (kernel) => {
  const { secrets, accessTtlMs } = kernel.config.jwt
  const tokens = createAccessTokens({ secrets, accessTtlMs, clock: kernel.clock })
  const revocations = createRevocations(kernel)
  return {
    verify: (token) => unrevoked(revocations, tokens.verify(token)),
    redeemTicket: async (ticket) => unrevoked(revocations, await redeemTicket(kernel, ticket)),
    issue: (subject) => tokens.sign(subject),
    isRevoked: (sessionId) => revocations.has(sessionId),
    onRevoked: (listener) => revocations.onRevoked(listener),
    applyRevoked: (sessionIds) => revocations.apply(sessionIds),
    start: () => revocations.start(),
  }
})

function unrevoked(revocations: Revocations, actor: Actor): Actor {
  if (revocations.has(actor.sessionId)) throw new Failure('session_revoked')
  return actor
}
