import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { keepEnvironmentAdmin } from '../../src/auth/accounts/environment-admin.ts'
import { ConfigError } from '../../src/config.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'
import { password } from '../auth/setup.ts'
import { auditTrail } from '../support/audit.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { giveFactor } from '../support/factor.ts'
import { administration } from './setup.ts'

const hashOf = (text: string) =>
  Bun.password.hash(text, { algorithm: 'argon2id', memoryCost: 19_456, timeCost: 2 })

let database: TestDatabase
let hash: string
let otherHash: string
const open: { close(): Promise<void> }[] = []
const databases: TestDatabase[] = []
beforeAll(async () => {
  hash = await hashOf(password)
  otherHash = await hashOf('another password')
})
beforeEach(async () => {
  database = await testDatabase()
  databases.push(database)
})
afterAll(async () => {
  for (const world of open) await world.close()
  for (const one of databases) await one.drop()
})

/** An instance of the product with this environment, as it is after its start. */
async function start(env: Record<string, string> = {}) {
  const world = await administration({ database, env })
  open.push(world)
  await keepEnvironmentAdmin(world.kernel)
  return world
}
const named = (name: string, passwordHash = hash) => ({
  ADMIN_USERNAME: name,
  ADMIN_PASSWORD_HASH: passwordHash,
})

type World = Awaited<ReturnType<typeof start>>
const signIn = (world: World, username: string, as = password) =>
  world.call<{ token: string; user: { id: string } }>('auth.login', null, {
    username,
    password: as,
  })
const actions = async (kernel: Kernel) =>
  (await auditTrail({ kernel }, 'admin.environment')).map(({ action }) =>
    action.replace('admin.environment_admin_', ''),
  )

describe('the administrator of the environment', () => {
  test('signs in, and acts after setting up a second factor', async () => {
    const world = await start(named('keeper'))
    const { token, user } = await signIn(world, 'KEEPER')
    const actor = world.authenticator.verify(token)
    expect(actor.roles).toEqual(['user', 'admin'])
    expect(await world.refused(world.call('admin.users.list', actor, {}))).toBe('mfa_required')
    await giveFactor(world.kernel, user.id)
    const { user: target } = await world.person('target')
    const sure = { ...actor, mfa: true }
    await world.act('admin.users.block', sure, { user_id: target.id, reason: 'x' })
    expect(await actions(world.kernel)).toEqual(['created'])
  })

  test('is the same after another start, and has the new password after a change', async () => {
    const world = await start(named('keeper'))
    const { token, user } = await signIn(world, 'keeper')
    const same = await start(named('Keeper'))
    expect((await signIn(same, 'keeper')).user.id).toBe(user.id)
    same.authenticator.verify(token)
    const changed = await start(named('keeper', otherHash))
    expect((await signIn(changed, 'keeper', 'another password')).user.id).toBe(user.id)
    expect(await changed.refused(signIn(changed, 'keeper'))).toBe('invalid_credentials')
    expect(() => changed.authenticator.verify(token)).toThrow('Session revoked')
    expect(await actions(changed.kernel)).toEqual(['created', 'password_changed'])
  })

  test('is disabled without its variables or by another name, and comes back', async () => {
    const { user } = await signIn(await start(named('keeper')), 'keeper')
    const without = await start()
    expect(await without.refused(signIn(without, 'keeper'))).toBe('invalid_credentials')
    expect(await without.openSessions(user.id)).toBe(0)
    const renamed = await start(named('warden'))
    expect(await renamed.refused(signIn(renamed, 'keeper'))).toBe('invalid_credentials')
    expect((await signIn(renamed, 'warden')).user.id).not.toBe(user.id)
    const back = await start(named('keeper'))
    expect((await signIn(back, 'keeper')).user.id).toBe(user.id)
    expect(await back.refused(signIn(back, 'warden'))).toBe('invalid_credentials')
    expect(await actions(back.kernel)).toEqual([
      'created',
      'disabled',
      'created',
      'disabled',
      'enabled',
    ])
  })

  test('does not take the account of a user, nor may a user take its name', async () => {
    const before = await start()
    await before.person('popular')
    const refused = start(named('Popular'))
    expect(await refused.catch((error: unknown) => error)).toBeInstanceOf(ConfigError)
    await expect(refused).rejects.toThrow(/ADMIN_USERNAME names "Popular".*account of a user/)
    const world = await start(named('keeper'))
    const taken = world.person('thief', { username: 'KEEPER' })
    expect(await world.refused(taken)).toBe('already_exists')
    const { actor } = await world.person('renamer')
    const rename = world.call('auth.update_profile', actor, { username: 'keeper' })
    expect(await world.refused(rename)).toBe('already_exists')
  })

  test('is one, however many instances start together', async () => {
    const worlds = await Promise.all(
      Array.from({ length: 4 }, () => administration({ database, env: named('keeper') })),
    )
    open.push(...worlds)
    await Promise.all(worlds.map(({ kernel }) => keepEnvironmentAdmin(kernel)))
    const [row] = await database.db.sql`
      select count(*)::int as n from users where environment_admin`
    expect(row.n).toBe(1)
    expect(await actions((worlds[0] as World).kernel)).toEqual(['created'])
  })

  test('is changed by nobody and nothing else', async () => {
    const world = await start(named('keeper'))
    const { token, user } = await signIn(world, 'keeper')
    const own = world.authenticator.verify(token)
    const root = await world.admin('root')
    const id = { user_id: user.id }
    const attempts: [string, typeof root, object][] = [
      ['admin.users.block', root, { ...id, reason: 'coup' }],
      ['admin.users.unblock', root, id],
      ['admin.users.roles', root, { ...id, roles: [] }],
      ['users.update', root, { ...id, name: 'Puppet' }],
      ['users.delete', root, id],
      ['users.delete', own, { ...id, password }],
      ['auth.close_account', own, { password }],
      ['auth.update_profile', own, { username: 'runaway' }],
      ['auth.password.change', own, { current_password: password, password: 'a new password' }],
      ['auth.email.change', own, { email: 'mine@example.org', password }],
    ]
    for (const [name, actor, input] of attempts) {
      expect(await world.refused(world.act(name, actor, input)), name).toBe('forbidden')
    }
    world.authenticator.verify(token)
    await signIn(world, 'keeper')
    // Nor is it shown to users: its name is half of what one needs to sign in.
    const { actor } = await world.person('curious')
    expect(await world.refused(world.call('users.get', actor, id))).toBe('not_found')
    const listed = await world.call<{ items: unknown[] }>('users.list', actor, { q: 'keeper' })
    expect(listed.items).toEqual([])
  })

  test('gets no mail, for it has no mailbox', async () => {
    const world = await start(named('keeper'))
    const { token } = await signIn(world, 'keeper')
    await world.call('auth.email.resend', world.authenticator.verify(token), {}).catch(() => 0)
    const [row] = await database.db.sql`
      select count(*)::int as n from queue_jobs where queue = 'mail'`
    expect(row.n).toBe(0)
  })

  test('counts when others go: with it, the last of them may', async () => {
    const world = await start(named('keeper'))
    const only = await world.admin('only')
    await world.act('auth.close_account', only, {})
    expect(await world.openSessions(only.userId)).toBe(0)
  })
})
