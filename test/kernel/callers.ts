import type { Actor, ApiKeyActor, Caller, Role, Scope } from '../../src/kernel/access.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import type { Call, Outcome } from '../../src/kernel/call.ts'
import { Failure } from '../../src/base/errors.ts'

/** Whoever may call, and what came of it. */

/** A user of their own, with these roles. */
export function person(roles: readonly Role[] = ['user'], mfa = false): Actor {
  return {
    kind: 'user',
    userId: crypto.randomUUID(),
    sessionId: crypto.randomUUID(),
    roles,
    mfa,
    expiresAtMs: Number.MAX_SAFE_INTEGER,
  }
}

/** A service of its own, with these scopes. */
export function apiKeyOf(scopes: readonly Scope[]): ApiKeyActor {
  return { kind: 'service', keyId: crypto.randomUUID(), name: 'a service', scopes }
}

/** A call as an edge would make it. */
export function callOf(actor: Caller | null, input: unknown = {}, more: Partial<Call> = {}): Call {
  const request = { ...internalRequest('request-1'), address: '192.0.2.1' }
  return { actor, request, input, ...more }
}

/** The outcome, or the failure, thrown at once or later. */
export async function settled(
  execute: () => Outcome | Promise<Outcome>,
): Promise<Outcome | Failure> {
  try {
    return await execute()
  } catch (error) {
    if (error instanceof Failure) return error
    throw error
  }
}

/** `ok`, or the code of the failure. */
export async function codeOf(execute: () => Outcome | Promise<Outcome>): Promise<string> {
  const outcome = await settled(execute)
  return outcome instanceof Failure ? outcome.code : 'ok'
}

/** A door that is opened by the test, so that something waits where it is wanted. */
export function gate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { passed: promise, open: () => resolve() }
}
