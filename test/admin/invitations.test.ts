import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { testClock } from '../../src/base/clock.ts'
import { type Actor, isAdmin } from '../../src/kernel/access.ts'
import { password } from '../auth/setup.ts'
import { auditTrail } from '../support/audit.ts'
import { administration } from './setup.ts'

interface Invitation {
  readonly id: string
  readonly email: string
  readonly state: string
  readonly expires_at: string
  readonly accepted_by: string | null
}
interface Accepted {
  readonly user: { id: string; email: string; roles: string[]; email_verified: boolean }
}

const HOUR_MS = 3_600_000
const clock = testClock(Date.now())
let world: Awaited<ReturnType<typeof administration>>
let root: Actor
beforeAll(async () => {
  world = await administration({ clock })
  root = await world.admin('root')
})
afterAll(() => world.close())

const invite = (email: string, by = root) =>
  world.act<Invitation>('admin.invitations.create', by, { email })
const accept = (token: string, input: object = {}, actor: Actor | null = null) =>
  world.call<Accepted>('admin.invitations.accept', actor, { token, ...input })
const list = async () =>
  (await world.call<{ items: Invitation[] }>('admin.invitations.list', root, { limit: 100 })).items
const stateOf = async (id: string) => (await list()).find((one) => one.id === id)?.state

/** What the newest letter to an address has in its link. */
async function tokenFor(email: string): Promise<string> {
  const letter = (await world.letters(email)).findLast((l) => l.template === 'admin_invitation')
  const link = new URL(letter?.data['link'] ?? '')
  expect(link.pathname).toBe('/account/accept-invitation')
  return link.hash.replace('#token=', '')
}

describe('an invitation', () => {
  test('makes somebody new an administrator, who can act after a second factor', async () => {
    const email = 'newcomer@example.org'
    const made = await invite(email)
    expect(made).toMatchObject({ email, state: 'open' })
    expect(Date.parse(made.expires_at) - clock.now()).toBe(72 * HOUR_MS)
    const token = await tokenFor(email)
    // The token is in the mail alone.
    expect(JSON.stringify([made, await list()])).not.toContain(token)
    const { user } = await accept(token, { username: 'newcomer', password })
    expect(user).toMatchObject({ email, roles: ['user', 'admin'], email_verified: true })
    expect(await stateOf(made.id)).toBe('accepted')
    const signedIn = await world.call<{ token: string }>('auth.login', null, { email, password })
    const actor = world.authenticator.verify(signedIn.token)
    expect(isAdmin(actor)).toBe(false)
    expect(await world.refused(world.call('admin.users.list', actor, {}))).toBe('mfa_required')
    const [line] = await auditTrail(world, 'admin.invitation_accepted')
    expect(line).toMatchObject({ actor_id: user.id, after: { invited_by: root.userId } })
  })

  test('makes the signed-in owner of its address one', async () => {
    const { actor, user } = await world.person('colleague')
    await invite(user.email.toUpperCase())
    const token = await tokenFor(user.email.toUpperCase())
    const { actor: other } = await world.person('other')
    expect(await world.refused(accept(token, {}, other))).toBe('forbidden')
    expect(await world.refused(accept(token, { password }))).toBe('already_exists')
    const accepted = await accept(token, {}, actor)
    expect(accepted.user).toMatchObject({ id: user.id, roles: ['user', 'admin'] })
    expect(await world.refused(invite(user.email))).toBe('already_exists')
  })

  test('is good once, also for many at the same moment', async () => {
    const email = 'once@example.org'
    await invite(email)
    const token = await tokenFor(email)
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, () => accept(token, { password })),
    )
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1)
    expect(await world.refused(accept(token, { password }))).toBe('invalid_link')
  })

  test('runs out after 72 hours', async () => {
    const email = 'late@example.org'
    const { id } = await invite(email)
    const token = await tokenFor(email)
    clock.advance(72 * HOUR_MS - 1)
    expect(await stateOf(id)).toBe('open')
    clock.advance(1)
    expect(await world.refused(accept(token, { password }))).toBe('invalid_link')
    expect(await stateOf(id)).toBe('expired')
    const revoke = world.act('admin.invitations.revoke', root, { invitation_id: id })
    expect(await world.refused(revoke)).toBe('conflict')
  })

  test('ends with a newer one, when it is taken back, and not by a guess', async () => {
    const email = 'again@example.org'
    const first = await invite(email)
    const old = await tokenFor(email)
    const second = await invite(email)
    expect(await world.refused(accept(old, { password }))).toBe('invalid_link')
    expect([await stateOf(first.id), await stateOf(second.id)]).toEqual(['revoked', 'open'])
    const fresh = await tokenFor(email)
    const guess = fresh.slice(1) + fresh[0]
    expect(await world.refused(accept(guess, { password }))).toBe('invalid_link')
    await world.act('admin.invitations.revoke', root, { invitation_id: second.id })
    expect(await world.refused(accept(fresh, { password }))).toBe('invalid_link')
    expect(await stateOf(second.id)).toBe('revoked')
    const nobody = { invitation_id: crypto.randomUUID() }
    expect(await world.refused(world.act('admin.invitations.revoke', root, nobody))).toBe(
      'not_found',
    )
    expect((await auditTrail(world, 'admin.invitation_refused')).length).toBeGreaterThanOrEqual(3)
  })

  test.each([
    ['a blocked inviter', 'admin.users.block', { reason: 'x' }],
    ['one who is no administrator any more', 'admin.users.roles', { roles: [] }],
    ['one who has left', 'users.delete', {}],
  ])('ends with %s', async (what, name, extra) => {
    const inviter = await world.admin(`inviter-${name.replaceAll('.', '-')}`)
    const email = `friend-of-${inviter.userId}@example.org`
    await invite(email, inviter)
    const token = await tokenFor(email)
    await world.act(name, root, { user_id: inviter.userId, ...extra })
    expect(await world.refused(accept(token, { password })), what).toBe('invalid_link')
  })

  test('needs an address, a password of somebody new, and a name that is free', async () => {
    for (const email of ['nobody', '', 'a@b', 7]) {
      const call = world.act('admin.invitations.create', root, { email })
      expect(await world.refused(call)).toBe('validation_failed')
    }
    const email = 'careless@example.org'
    await invite(email)
    const token = await tokenFor(email)
    expect(await world.refused(accept(token))).toBe('validation_failed')
    expect(await world.refused(accept(token, { password: 'short' }))).toBe('validation_failed')
    expect(await world.refused(accept(token, { password, username: 'ROOT' }))).toBe(
      'already_exists',
    )
    // None of these has used it up.
    await accept(token, { password, username: 'careful' })
  })

  test('cannot be made without a fresh code, nor by others', async () => {
    const input = { email: 'x@example.org' }
    const { actor } = await world.person('climber')
    const by = (caller: Actor) =>
      world.refused(world.call('admin.invitations.create', caller, input))
    expect(await by(root)).toBe('step_up_required')
    expect(await by(actor)).toBe('forbidden')
  })

  test('leaves no address of somebody who has closed their account', async () => {
    const email = 'forgotten@example.org'
    await invite(email)
    const { user } = await accept(await tokenFor(email), { password })
    await invite('someone-else@example.org')
    await world.act('users.delete', root, { user_id: user.id })
    const { sql } = world.kernel.db
    const [row] = await sql`
      select count(*)::int as n from admin_invitations i where i::text like ${`%${email}%`}`
    expect(row.n).toBe(0)
  })
})
