import { afterAll, beforeAll, expect, test } from 'bun:test'
import { forgetEnded } from '../../src/auth/jobs.ts'
import { testClock } from '../../src/base/clock.ts'
import { challengeOf, enrolled } from './enrolled.ts'
import { identity, password } from './setup.ts'

const DAY_MS = 86_400_000
const clock = testClock()
let world: Awaited<ReturnType<typeof identity>>
beforeAll(async () => {
  world = await identity({ clock })
})
afterAll(() => world.close())

async function left(): Promise<Record<string, number>> {
  const [row] = await world.kernel.db.sql`
    select (select count(*) from tickets)::int as tickets,
      (select count(*) from refresh_tokens)::int as tokens,
      (select count(*) from sessions)::int as sessions,
      (select count(*) from session_revocations)::int as revocations`
  return { ...row }
}

test('what has ended goes, each after its time, and nothing before', async () => {
  const { actor } = await world.person('ann')
  await world.call('auth.ticket', actor, {})
  await world.call('auth.logout', actor, {})
  const revokedAt = clock.date()
  await world.kernel.db.sql`update session_revocations set revoked_at = ${revokedAt}`
  const after = async (ms: number) => {
    clock.jump(ms)
    await forgetEnded.run(world.kernel)
    await forgetEnded.run(world.kernel)
    return await left()
  }
  expect(await after(0)).toEqual({ tickets: 1, tokens: 1, sessions: 1, revocations: 1 })
  expect(await after(2 * 3_600_000)).toMatchObject({ tickets: 0, tokens: 1 })
  expect(await after(7 * DAY_MS)).toMatchObject({ tokens: 1 })
  expect(await after(DAY_MS)).toMatchObject({ tokens: 0, sessions: 1, revocations: 1 })
  expect(await after(24 * DAY_MS)).toMatchObject({ sessions: 1, revocations: 0 })
  expect(await after(30 * DAY_MS)).toEqual({ tickets: 0, tokens: 0, sessions: 0, revocations: 0 })
})

test('what a second factor leaves goes, but not the factor, nor a device in use', async () => {
  const count = async () => {
    const [row] = await world.kernel.db.sql`
      select (select count(*) from step_ups)::int as step_ups,
        (select count(*) from second_factors)::int as factors,
        (select count(*) from recoveries)::int as recoveries,
        (select count(*) from devices)::int as devices`
    return { ...row } as Record<string, number>
  }
  const before = await count()
  const ann = await enrolled(world, 'factor')
  const begun = await world.person('begun')
  await world.call('auth.mfa.setup', begun.actor, { password })
  await world.call('auth.recovery.start', null, { login: ann.email, password })
  const challenge = await challengeOf(world.call('auth.mfa.disable', ann.actor, {}))
  await world.call('auth.mfa.verify', ann.actor, { challenge, code: ann.code() })
  const later = async (ms: number) => {
    clock.jump(ms)
    await forgetEnded.run(world.kernel)
    return await count()
  }
  const made = await later(0)
  const devices = (before['devices'] ?? 0) + 2
  expect(made).toMatchObject({ step_ups: 1, factors: 2, recoveries: 1, devices })
  expect(await later(3_600_000 + 5 * 60_000 + 1)).toMatchObject({ step_ups: 0, factors: 2 })
  expect(await later(DAY_MS)).toMatchObject({ factors: 1, recoveries: 1, devices })
  // Sessions end first; then a year without any.
  await later(80 * DAY_MS)
  expect(await later(330 * DAY_MS)).toEqual({ step_ups: 0, factors: 1, recoveries: 0, devices: 0 })
})
