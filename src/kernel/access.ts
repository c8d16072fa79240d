/** What a person may be in the product; one person may hold several. */
export const ROLES = [
  'user',
  'creator',
  'mentor',
  'mentee',
  'alumni',
  'service_provider',
  'investor',
  'manager',
  'admin',
] as const

export type Role = (typeof ROLES)[number]

/** What an API key may be allowed, and what that means. */
export const SCOPES = {
  'users:read': 'Read public profiles',
  'users:write': 'Create accounts',
  'audit:read': 'Search and export the audit log',
  'webhooks:write': 'Manage the endpoints of webhooks, read and replay their deliveries',
} as const

export type Scope = keyof typeof SCOPES

/** Who asks: a user through one of their sessions. */
export interface Actor {
  readonly kind: 'user'
  readonly userId: string
  readonly sessionId: string
  readonly roles: readonly Role[]
  /** The session was opened with a second factor, or has shown one since. */
  readonly mfa: boolean
  /** When the access token ends, in milliseconds since the epoch. */
  readonly expiresAtMs: number
}

/** Who asks: a program with an API key. Over REST only. */
export interface ApiKeyActor {
  readonly kind: 'service'
  readonly keyId: string
  readonly name: string
  readonly scopes: readonly Scope[]
}

/** Whoever may ask. */
export type Caller = Actor | ApiKeyActor

/** One text for each caller, different for every two of them. */
export const callerId = (caller: Caller): string =>
  caller.kind === 'user' ? caller.userId : `key:${caller.keyId}`

/** Who may ask. */
export type Access =
  | { readonly kind: 'anyone' }
  | {
      readonly kind: 'user'
      readonly roles: readonly Role[] | undefined
      /** API keys with this scope may ask as well. */
      readonly scope: Scope | undefined
    }
  | { readonly kind: 'service'; readonly scope: Scope }

/** No token needed. */
export const anyone = () => ({ kind: 'anyone' }) as const

/**
 * A signed-in user, with one of `roles` where they are given (as an administrator only with a
 * second factor), or an API key with `scope` where that is given.
 */
export function user<S extends Scope | undefined = undefined>(
  options: { roles?: readonly Role[]; scope?: S } = {},
) {
  return { kind: 'user', roles: options.roles, scope: options.scope as S } as const
}

/** An API key with `scope`. */
export const apiKey = (scope: Scope) => ({ kind: 'service', scope }) as const

/** Whether somebody may act as an administrator: by role, and with a second factor. */
export const isAdmin = (caller: Caller | null): boolean =>
  caller?.kind === 'user' && caller.mfa && caller.roles.includes('admin')

/** Where a call came from. */
export interface RequestInfo {
  readonly id: string
  readonly transport: 'rest' | 'socket' | 'internal'
  /** The client's network address, after trusted proxies. */
  readonly address: string
  readonly userAgent: string | undefined
  /** The socket that asked, so that its own events need not come back to it. */
  readonly connectionId: string | undefined
}

/** The request of work that nobody has asked for: jobs, and what happens at start. */
export function internalRequest(id: string): RequestInfo {
  return {
    id,
    transport: 'internal',
    address: '',
    userAgent: undefined,
    connectionId: undefined,
  }
}
