import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Account, Profile } from '../../src/auth/shapes.ts'
import type { Actor } from '../../src/kernel/access.ts'
import { failure, identity, password } from './setup.ts'

let world: Awaited<ReturnType<typeof identity>>
let admin: Actor
beforeAll(async () => {
  world = await identity()
  admin = { ...(await world.person('root')).actor, roles: ['user', 'admin'], mfa: true }
})
afterAll(() => world.close())

const update = (actor: Actor, input: object) =>
  world.call<Account>('auth.update_profile', actor, input)
const list = (actor: Actor, input: object) =>
  world.call<{ items: Profile[]; next_cursor: string | null }>('users.list', actor, input)

test('a profile changes where something is given, and only there', async () => {
  const { actor, user } = await world.person('ann')
  const changed = await update(actor, { name: 'Ann', timeZone: 'Asia/Tokyo', locale: 'fr' })
  expect(changed).toEqual({ ...user, name: 'Ann', time_zone: 'Asia/Tokyo', locale: 'fr' })
  const avatar = 'data:image/png;base64,iVBORw0KGgo='
  expect(await update(actor, { avatar, username: 'ann.b' })).toEqual({
    ...changed,
    avatar,
    username: 'ann.b',
  })
  expect(await update(actor, {})).toEqual({ ...changed, avatar, username: 'ann.b' })
  const cleared = await update(actor, { name: null, avatar: null, username: 'Ann.B' })
  expect(cleared).toMatchObject({ name: null, avatar: null, username: 'Ann.B', locale: 'fr' })
  expect(await world.call<Account>('auth.me', actor, {})).toEqual(cleared)
})

test('what one may not change is refused, not ignored', async () => {
  const { actor } = await world.person('greedy')
  for (const change of [
    { roles: ['admin'] },
    { email: 'other@example.org' },
    { wallet_address: `0x${'0'.repeat(40)}` },
    { username: null },
    { time_zone: 'Nowhere' },
    { avatar: 'http://example.org/x.png' },
    { name: '' },
  ]) {
    expect(await world.refused(update(actor, change))).toBe('validation_failed')
  }
})

test('a name that somebody has, in any case of letters, is taken', async () => {
  await world.person('first', { username: 'Wanted' })
  const { actor } = await world.person('second')
  expect(await failure(update(actor, { username: 'wANTED' }))).toMatchObject({
    code: 'already_exists',
    errors: [{ path: '/username', message: 'is taken' }],
  })
})

test('others are changed by administrators only', async () => {
  const { actor, user } = await world.person('target')
  const { actor: stranger } = await world.person('stranger')
  const change = { user_id: user.id, name: 'Changed' }
  expect(await world.refused(world.call('users.update', stranger, change))).toBe('forbidden')
  const own = { user_id: user.id.toUpperCase(), name: 'Own' }
  expect(await world.call<Account>('users.update', actor, own)).toMatchObject({ name: 'Own' })
  expect(await world.call<Account>('users.update', admin, change)).toMatchObject({
    name: 'Changed',
  })
  const nobody = { user_id: crypto.randomUUID(), name: 'x' }
  expect(await world.refused(world.call('users.update', admin, nobody))).toBe('not_found')
})

test('a public profile holds nothing private', async () => {
  const { user } = await world.person('public', {
    name: 'P',
    wallet_address: `0x${'1'.repeat(40)}`,
  })
  const { actor } = await world.person('reader')
  const profile = { id: user.id, username: 'public', name: 'P', avatar: null, actor_type: 'user' }
  expect(await world.call<Profile>('users.get', actor, { user_id: user.id })).toEqual(
    profile as Profile,
  )
  expect((await list(actor, { q: 'public' })).items).toEqual([profile as Profile])
  const nobody = world.call('users.get', actor, { user_id: crypto.randomUUID() })
  expect(await world.refused(nobody)).toBe('not_found')
})

test('profiles are searched by how their name begins, in pages that join', async () => {
  const { actor } = await world.person('searcher')
  const names = ['zed-a', 'Zed-B', 'zed-c', 'ZED_D', 'zed.e', 'zee']
  for (const username of names) await world.person(username, { username })
  const seen: string[] = []
  let cursor: string | null | undefined
  do {
    const page = await list(actor, { q: 'Zed', limit: 2, ...(cursor ? { cursor } : {}) })
    expect(page.items.length).toBeLessThanOrEqual(2)
    seen.push(...page.items.map(({ username }) => username))
    cursor = page.next_cursor
  } while (cursor !== null)
  expect(seen).toEqual(['zed-a', 'Zed-B', 'zed-c', 'zed.e', 'ZED_D'])
  // An underscore is itself, not any character.
  const literal = await list(actor, { q: 'zed_' })
  expect(literal.items.map(({ username }) => username)).toEqual(['ZED_D'])
  expect(await world.refused(list(actor, { q: '%' }))).toBe('validation_failed')
})

test('the search uses the index of names', async () => {
  const rows = await world.kernel.db.transaction(async ({ sql }) => {
    await sql`set local enable_seqscan = off`
    return await sql`
      explain select id from users where lower(username) >= ${'a'}::text
        and lower(username) < ${'b'}::text order by lower(username) limit 10`
  })
  const plan = rows.map((row: Record<string, string>) => row['QUERY PLAN']).join('\n')
  expect(plan).toMatch(/Index Scan using users_username_key[^]*Index Cond/)
  expect(plan).not.toContain('Sort')
})

test('only administrators create accounts for others, with the roles they say', async () => {
  const { actor } = await world.person('climber')
  const input = { email: 'made@example.org', password, roles: ['user', 'mentor'] }
  expect(await world.refused(world.call('users.create', actor, input))).toBe('forbidden')
  const made = await world.call<Account>('users.create', admin, input, 'key-1')
  expect(made).toMatchObject({ email: input.email, username: 'made', roles: input.roles as never })
  expect(await world.call<Account>('users.create', admin, input, 'key-1')).toEqual(made)
  await world.call('auth.login', null, { email: input.email, password })
})
