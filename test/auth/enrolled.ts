import type { Actor } from '../../src/kernel/access.ts'
import { codeFor } from '../support/factor.ts'
import { failure, type identity, password } from './setup.ts'

type World = Awaited<ReturnType<typeof identity>>

/** Answer of `auth.mfa.verify`. */
export interface Verified {
  readonly enabled?: true
  readonly recovery_codes?: string[]
  readonly token?: string
  readonly step_up?: string
  readonly expires_at: string
}

/** Somebody with an authenticator app. */
export interface Enrolled {
  readonly email: string
  readonly actor: Actor
  readonly secret: string
  readonly recoveryCodes: readonly string[]
  /** What the app shows now, or so many steps of 30 s from now. */
  code(steps?: number): string
}

/** Registers somebody and sets up their second factor; half a minute later on a frozen clock. */
export async function enrolled(world: World, name: string): Promise<Enrolled> {
  const { actor } = await world.person(name)
  return await enrol(world, `${name}@example.org`, actor)
}

/** Sets up the second factor of somebody who is signed in. */
export async function enrol(world: World, email: string, actor: Actor): Promise<Enrolled> {
  const { clock } = world.kernel
  const { secret } = await world.call<{ secret: string }>('auth.mfa.setup', actor, { password })
  const confirmed = await world.call<Verified>('auth.mfa.verify', actor, {
    code: codeFor(secret, clock.now()),
  })
  if ('advance' in clock) (clock as { advance(ms: number): void }).advance(30_000)
  return {
    email,
    secret,
    actor: world.authenticator.verify(confirmed.token as string),
    recoveryCodes: confirmed.recovery_codes as string[],
    code: (steps = 0) => codeFor(secret, clock.now() + steps * 30_000),
  }
}

/** The challenge that a call is refused with. */
export async function challengeOf(promise: Promise<unknown>): Promise<string> {
  const refused = await failure(promise)
  if (refused.code !== 'step_up_required') throw new Error(`refused with ${refused.code}`)
  return refused.challenge as string
}
