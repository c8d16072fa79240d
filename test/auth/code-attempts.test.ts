import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { SignedIn } from '../../src/auth/shapes.ts'
import { type TestClock, testClock } from '../../src/base/clock.ts'
import type { Actor } from '../../src/kernel/access.ts'
import { auditTrail } from '../support/audit.ts'
import { enrolled, type Verified } from './enrolled.ts'
import { failure, identity, password } from './setup.ts'

let world: Awaited<ReturnType<typeof identity>>
let clock: TestClock
beforeAll(async () => {
  clock = testClock()
  world = await identity({ clock })
})
afterAll(() => world.close())

const verify = (actor: Actor, input: object) =>
  world.call<Verified>('auth.mfa.verify', actor, input)
const signIn = (email: string, more: object = {}) =>
  world.call<SignedIn>('auth.login', null, { email, password, ...more })
const actorOf = ({ token }: SignedIn) => world.authenticator.verify(token)

describe('guessing', () => {
  test('five wrong codes, and the session waits, although each was rolled back', async () => {
    const { code, email } = await enrolled(world, 'guessed')
    const actor = actorOf(await signIn(email, { mfa_code: code() }))
    clock.advance(30_000)
    for (let i = 0; i < 5; i++) {
      expect(await world.refused(verify(actor, { code: '000000' }))).toBe('invalid_code')
    }
    const limited = await failure(verify(actor, { code: code() }))
    expect(limited.code).toBe('rate_limited')
    expect(limited.retryAfterMs).toBeGreaterThan(0)
    const lines = await auditTrail(world, 'auth.mfa_code_limited')
    expect(lines.map(({ target_id }) => target_id)).toContain(actor.userId)
    // The owner is not kept out elsewhere by what this session has tried.
    await signIn(email, { mfa_code: code() })
  })

  test('control: a count within the transaction is gone with it', async () => {
    const { actor } = await world.person('counted')
    const { db } = world.kernel
    const count = () =>
      db.transaction(async ({ sql }) => {
        await sql`
          insert into security_limits (name, subject, empty_at)
          values ('mfa_code_account', ${Buffer.from(`naive ${actor.userId}`)}, now())`
        throw new Error('wrong code')
      })
    for (let i = 0; i < 5; i++) await count().catch(() => undefined)
    const rows = await db.sql`
      select from security_limits where subject = ${Buffer.from(`naive ${actor.userId}`)}`
    expect(rows).toHaveLength(0)
  })

  test('right codes are not counted', async () => {
    const { actor, code } = await enrolled(world, 'busy')
    for (let i = 0; i < 12; i++) {
      clock.advance(30_000)
      await verify(actor, { code: code() })
    }
  })

  test('who has no password does not get as far as counting', async () => {
    const { email, code } = await enrolled(world, 'besieged')
    for (let i = 0; i < 6; i++) {
      const guess = signIn(email, { password: `guess number ${i}`, mfa_code: '000000' })
      expect(await world.refused(guess)).toBe('invalid_credentials')
    }
    await signIn(email, { mfa_code: code() })
  })

  test('who has stolen the password keeps no known device out', async () => {
    const { email, code, actor } = await enrolled(world, 'robbed')
    const own = await signIn(email, { mfa_code: code() })
    for (let i = 0; i < 5; i++) {
      expect(await world.refused(signIn(email, { mfa_code: '000000' }))).toBe('invalid_code')
    }
    clock.advance(30_000)
    expect(await world.refused(signIn(email, { mfa_code: code() }))).toBe('rate_limited')
    await signIn(email, { mfa_code: code(), device_token: own.device_token })
    expect(own.user.id).toBe(actor.userId)
  })
})
