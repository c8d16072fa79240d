import { Failure } from '../../src/base/errors.ts'
import { features } from '../../src/features.ts'
import type { Actor } from '../../src/kernel/access.ts'
import { identity } from '../auth/setup.ts'
import { freshCode, giveFactor } from '../support/factor.ts'
import type { TestKernelOptions } from '../support/kernel.ts'

/** The whole product without edges, and administrators in it. */
export async function administration(options: Omit<TestKernelOptions, 'features'> = {}) {
  const names = new Set(['auth', 'mail'])
  const world = await identity({
    ...options,
    more: features.filter(({ name }) => !names.has(name)),
  })
  const { kernel, call } = world

  /** Calls an operation, with a fresh code of the actor's factor where it asks for one. */
  async function act<T = Record<string, never>>(
    name: string,
    actor: Actor,
    input: unknown,
    key?: string,
  ): Promise<T> {
    try {
      return await call<T>(name, actor, input, key)
    } catch (error) {
      if (!(error instanceof Failure) || error.code !== 'step_up_required') throw error
      const code = await freshCode(kernel, actor.userId)
      const { challenge } = error
      const { step_up } = await call<{ step_up: string }>('auth.mfa.verify', actor, {
        challenge,
        code,
      })
      return await call<T>(name, actor, input, key, step_up)
    }
  }

  return {
    ...world,
    act,
    /** Somebody with the role and a second factor, as they are after signing in with it. */
    async admin(name: string): Promise<Actor> {
      const { actor } = await world.person(name)
      await giveFactor(kernel, actor.userId)
      await kernel.db.sql`update users set roles = '{user,admin}' where id = ${actor.userId}`
      await kernel.db.sql`update sessions set mfa_at = now() where id = ${actor.sessionId}`
      return { ...actor, roles: ['user', 'admin'], mfa: true }
    },
    /** The letters that wait to be sent to an address, as their payloads say. */
    async letters(to: string) {
      const rows = (await kernel.db.sql`
        select id, payload from queue_jobs where queue = 'mail' order by id`) as {
        id: string
        payload: Uint8Array
      }[]
      const open = ({ id, payload }: (typeof rows)[number]) =>
        JSON.parse(kernel.vault.open(`queue_jobs.payload:${id}`, payload).toString()) as Letter
      return rows.map(open).filter((letter) => letter.to === to)
    },
    /** What is left of somebody's sessions. */
    async openSessions(userId: string): Promise<number> {
      const [row] = await kernel.db.sql`
        select count(*)::int as n from sessions where user_id = ${userId} and revoked_at is null`
      return row.n as number
    },
  }
}

interface Letter {
  readonly to: string
  readonly template: string
  readonly data: Record<string, string>
}
