import { afterAll, beforeAll, expect, test } from 'bun:test'
import { exportIdentity, forgetIdentity } from '../../src/auth/accounts/personal.ts'
import { testClock } from '../../src/base/clock.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { enrolled } from './enrolled.ts'
import { identity, password } from './setup.ts'

const clock = testClock()
let world: Awaited<ReturnType<typeof identity>>
beforeAll(async () => {
  world = await identity({ clock })
})
afterAll(() => world.close())

/** Everything that identity holds of somebody, by section. */
async function exported(userId: string): Promise<Record<string, unknown[]>> {
  const sections: Record<string, unknown[]> = {}
  await world.kernel.db.read(async (sql) => {
    for await (const { section, item } of exportIdentity(world.kernel, sql, userId)) {
      ;(sections[section] ??= []).push(item)
    }
  })
  return sections
}

test('an export has what is held of a person, of nobody else, and no secret', async () => {
  await enrolled(world, 'other')
  const ann = await enrolled(world, 'ann')
  const begun = await world.call<{ recovery_token: string }>('auth.recovery.start', null, {
    login: ann.email,
    password,
  })
  const sections = await exported(ann.actor.userId)
  expect(Object.keys(sections)).toEqual([
    'account',
    'second_factor',
    'sessions',
    'devices',
    'recoveries',
  ])
  expect(sections['account']).toMatchObject([{ id: ann.actor.userId, email: ann.email }])
  expect(sections['second_factor']).toMatchObject([{ enabled: true, recovery_codes_left: 10 }])
  expect(sections['sessions']).toHaveLength(1)
  expect(sections['sessions']).toMatchObject([
    { id: ann.actor.sessionId, revoked_at: null, user_agent: 'test device' },
  ])
  expect(sections['devices']).toMatchObject([{ name: 'test device' }])
  expect(sections['recoveries']).toMatchObject([{ completed_at: null, cancelled_at: null }])
  const text = JSON.stringify(sections)
  expect(text).not.toContain('other@example.org')
  for (const secret of [ann.secret, ...ann.recoveryCodes, begun.recovery_token, 'argon2']) {
    expect(text).not.toContain(secret)
  }
})

test('more sessions than fit a page are all there, once', async () => {
  const { user } = await world.person('many')
  await world.kernel.db.sql`
    insert into sessions (id, user_id, address, expires_at)
    select gen_random_uuid(), ${user.id}, '192.0.2.1', now() from generate_series(1, 1200)`
  const { sessions = [] } = await exported(user.id)
  const ids = sessions.map((session) => (session as { id: string }).id)
  expect([ids.length, new Set(ids).size]).toEqual([1_201, 1_201])
})

test('forgetting leaves nothing that identifies the person or lets them in', async () => {
  const ann = await enrolled(world, 'leaves')
  const { userId } = ann.actor
  await world.call('auth.recovery.start', null, { login: ann.email, password })
  await unitOfWork(world.kernel, { actor: null, request: internalRequest('closing') }, (ctx) =>
    forgetIdentity(ctx, userId),
  )
  const [row] = await world.kernel.db.sql`
    select (select count(*) from second_factors where user_id = ${userId})::int as factors,
      (select count(*) from recovery_codes where user_id = ${userId})::int as codes,
      (select count(*) from devices where user_id = ${userId})::int as devices,
      (select count(*) from recoveries
        where user_id = ${userId} and cancelled_at is null)::int as open,
      (select count(*) from sessions
        where user_id = ${userId} and (user_agent is not null or address <> ''))::int as places`
  expect({ ...row }).toEqual({ factors: 0, codes: 0, devices: 0, open: 0, places: 0 })
})
