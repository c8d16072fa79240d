import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { AccountView } from '../../src/auth/accounts/directory.ts'
import type { Actor } from '../../src/kernel/access.ts'
import { failure, password } from '../auth/setup.ts'
import { auditTrail } from '../support/audit.ts'
import { administration } from './setup.ts'

let world: Awaited<ReturnType<typeof administration>>
let root: Actor
beforeAll(async () => {
  world = await administration()
  root = await world.admin('root')
})
afterAll(() => world.close())

const view = (userId: string) =>
  world.call<AccountView>('admin.users.get', root, { user_id: userId })
interface Page {
  items: AccountView[]
  next_cursor: string | null
}
const list = (input: object) => world.call<Page>('admin.users.list', root, input)

describe('blocking an account', () => {
  test('ends its sessions and lets nobody in until it is unblocked', async () => {
    const { actor, token, refresh_token, user } = await world.person('rude')
    const blocked = await world.act<AccountView>('admin.users.block', root, {
      user_id: user.id.toUpperCase(),
      reason: 'Insults',
    })
    expect(blocked).toMatchObject({ id: user.id, state: 'blocked', blocked_reason: 'Insults' })
    expect(() => world.authenticator.verify(token)).toThrow('Session revoked')
    const login = () => world.call('auth.login', null, { email: user.email, password })
    expect(await world.refused(login())).toBe('forbidden')
    expect(await world.refused(world.call('auth.refresh', null, { refresh_token }))).toMatch(
      /forbidden|session_revoked/,
    )
    expect(await world.openSessions(user.id)).toBe(0)
    const [letter] = (await world.letters(user.email)).filter((l) => l.template.startsWith('acc'))
    expect(letter).toMatchObject({ template: 'account_blocked', data: { reason: 'Insults' } })

    const again = world.act('admin.users.block', root, { user_id: user.id, reason: 'Again' })
    expect(await world.refused(again)).toBe('conflict')
    const open = await world.act<AccountView>('admin.users.unblock', root, { user_id: user.id })
    expect(open).toMatchObject({ state: 'open', blocked_at: null, blocked_reason: null })
    await login()
    // What was revoked stays so.
    expect(() => world.authenticator.verify(token)).toThrow('Session revoked')
    const twice = world.act('admin.users.unblock', root, { user_id: user.id })
    expect(await world.refused(twice)).toBe('conflict')

    const trail = await auditTrail(world, 'admin.user_')
    const [line] = trail.filter(({ action }) => action === 'admin.user_blocked')
    expect(line).toMatchObject({
      actor_id: root.userId,
      target_id: user.id,
      after: { sessions_ended: 1 },
      personal: { reason: 'Insults' },
    })
    expect(line?.after).not.toHaveProperty('reason')
    expect(trail.some(({ action }) => action === 'admin.user_unblocked')).toBe(true)
    expect(actor.userId).toBe(user.id)
  })

  test('needs the role, a second factor, and a fresh code', async () => {
    const { actor, user } = await world.person('bystander')
    const input = { user_id: user.id, reason: 'none' }
    const by = (caller: Actor) => world.refused(world.call('admin.users.block', caller, input))
    expect(await by(actor)).toBe('forbidden')
    expect(await by({ ...root, mfa: false })).toBe('mfa_required')
    expect(await by({ ...root, roles: ['user', 'manager'] })).toBe('forbidden')
    expect(await by(root)).toBe('step_up_required')
    expect(await view(user.id)).toMatchObject({ state: 'open' })
  })

  test('does not reach oneself, nobody, or a closed account', async () => {
    const block = (userId: string) =>
      world.refused(world.act('admin.users.block', root, { user_id: userId, reason: 'x' }))
    expect(await block(root.userId)).toBe('conflict')
    expect(await block(crypto.randomUUID())).toBe('not_found')
    const { actor, user } = await world.person('gone')
    await world.call('auth.close_account', actor, { password })
    expect(await block(user.id)).toBe('not_found')
  })

  test('at the moment of signing in leaves no session that works', async () => {
    for (let i = 0; i < 3; i++) {
      const { user } = await world.person(`moment-${i}`)
      const logins = Array.from({ length: 4 }, () =>
        world.call('auth.login', null, { email: user.email, password }),
      )
      await Promise.race(logins).catch(() => undefined)
      await world.act('admin.users.block', root, { user_id: user.id, reason: 'now' })
      await Promise.allSettled(logins)
      expect(await world.openSessions(user.id)).toBe(0)
    }
  })
})

describe('roles', () => {
  const set = (userId: string, roles: string[], by = root) =>
    world.act<AccountView>('admin.users.roles', by, { user_id: userId, roles })

  test('that are taken away are gone at once, others come with the next token', async () => {
    const { token, user } = await world.person('riser')
    expect((await set(user.id, ['mentor', 'manager'])).roles).toEqual(['user', 'mentor', 'manager'])
    world.authenticator.verify(token)
    expect((await set(user.id, ['mentor'])).roles).toEqual(['user', 'mentor'])
    expect(() => world.authenticator.verify(token)).toThrow('Session revoked')
    const lines = await auditTrail(world, 'admin.roles_changed')
    expect(lines.filter(({ target_id }) => target_id === user.id)).toMatchObject([
      { before: { roles: ['user'] }, after: { roles: ['user', 'mentor', 'manager'] } },
      {
        before: { roles: ['user', 'mentor', 'manager'] },
        after: { roles: ['user', 'mentor'], sessions_ended: 1 },
      },
    ])
  })

  test('of an administrator are given by invitation alone', async () => {
    const { user } = await world.person('hopeful')
    expect(await world.refused(set(user.id, ['admin']))).toBe('forbidden')
    const account = { email: 'straight@example.org', password, roles: ['admin'] }
    expect(await world.refused(world.call('users.create', root, account))).toBe('forbidden')
  })

  test('may be wrong in many ways', async () => {
    const { user } = await world.person('patient')
    for (const roles of [['king'], ['user', 'user'], 'admin', [1], undefined]) {
      const input = { user_id: user.id, roles }
      expect(await world.refused(world.act('admin.users.roles', root, input))).toBe(
        'validation_failed',
      )
    }
    expect(await world.refused(set(crypto.randomUUID(), []))).toBe('not_found')
  })
})

describe('the last administrator', () => {
  test('stays, whichever way they go', async () => {
    const alone = await administration()
    try {
      const last = await alone.admin('last')
      const without = { user_id: last.userId, roles: ['user'] }
      const step = await failure(alone.act('admin.users.roles', last, without))
      expect(step).toMatchObject({ code: 'conflict' })
      const close = alone.act('auth.close_account', last, {})
      expect(await alone.refused(close)).toBe('conflict')
      const second = await alone.admin('second')
      // A blocked one does not count: nobody could sign in.
      await alone.act('admin.users.block', last, { user_id: second.userId, reason: 'x' })
      expect(await alone.refused(alone.act('auth.close_account', last, {}))).toBe('conflict')
      await alone.act('admin.users.unblock', last, { user_id: second.userId })
      await alone.act('auth.close_account', last, {})
    } finally {
      await alone.close()
    }
  })

  test('is left over when all remove each other at the same moment', async () => {
    const alone = await administration()
    try {
      for (let round = 0; round < 5; round++) {
        const admins = await Promise.all([0, 1, 2, 3].map((n) => alone.admin(`r${round}-${n}`)))
        const names = ['admin.users.roles', 'admin.users.block', 'users.delete'] as const
        const inputs = { roles: [], reason: 'duel' }
        const duels = admins.map((by, n) => {
          const user_id = admins[(n + 1) % admins.length]?.userId
          const name = names[(n + round) % names.length] as string
          const extra =
            name === 'users.delete'
              ? {}
              : name.endsWith('roles')
                ? { roles: inputs.roles }
                : { reason: inputs.reason }
          return alone.act(name, by, { user_id, ...extra })
        })
        await Promise.allSettled(duels)
        const { sql } = alone.kernel.db
        const left = await sql`
          select id from users where 'admin' = any(roles) and closed_at is null
            and blocked_at is null`
        expect(left.length).toBeGreaterThan(0)
        // The next round begins without those who are left of this one.
        await sql`update users set roles = '{user}' where 'admin' = any(roles)`
      }
    } finally {
      await alone.close()
    }
  })

  test('the control: who counts without a lock lets both of two go', async () => {
    const alone = await administration()
    try {
      const both = [await alone.admin('one'), await alone.admin('two')]
      const counted = Promise.withResolvers<void>()
      let counts = 0
      const goNaively = (userId: string) =>
        alone.kernel.db.transaction(async ({ sql }) => {
          const admins = await sql`select id from users where 'admin' = any(roles)`
          if (++counts === both.length) counted.resolve()
          await counted.promise
          if (admins.length === 1) throw new Error('the last one')
          await sql`update users set roles = '{user}' where id = ${userId}`
        })
      await Promise.all(both.map(({ userId }) => goNaively(userId)))
      const left = await alone.kernel.db.sql`select from users where 'admin' = any(roles)`
      expect(left.length).toBe(0)
    } finally {
      await alone.close()
    }
  })

  test('cannot act once they have been removed, though their token is young', async () => {
    const [one, two] = [await world.admin('first-of-two'), await world.admin('second-of-two')]
    const { user } = await world.person('subject')
    await world.act('admin.users.roles', one, { user_id: two.userId, roles: [] })
    // As if the revocation had not come through yet: no edge has looked at the token.
    const late = world.act('admin.users.block', two, { user_id: user.id, reason: 'revenge' })
    expect(await world.refused(late)).toBe('forbidden')
  })
})

describe('accounts', () => {
  test('are listed newest first, by state and role, in pages that join', async () => {
    const made = []
    for (const name of ['la', 'lb', 'lc']) made.push((await world.person(name)).user.id)
    const seen: string[] = []
    let cursor: string | null | undefined
    do {
      const found = await list({ limit: 2, state: 'open', ...(cursor ? { cursor } : {}) })
      seen.push(...found.items.map(({ id }) => id))
      cursor = found.next_cursor
    } while (cursor)
    expect(seen.slice(0, 3)).toEqual(made.toReversed())
    expect(new Set(seen).size).toBe(seen.length)
    const admins = await list({ role: 'admin', limit: 100 })
    expect(admins.items.length).toBeGreaterThan(0)
    expect(admins.items.every(({ roles }) => roles.includes('admin'))).toBe(true)
    expect(await world.refused(list({ cursor: 'nonsense' }))).toBe('validation_failed')
    expect(
      await world.refused(list({ q: 'x', cursor: Buffer.from('é').toString('base64url') })),
    ).toBe('validation_failed')
  })

  test('are found by name, by address and by id', async () => {
    const { user } = await world.person('findme', { username: 'Find.Me' })
    for (const q of ['find.', 'FINDME@EX', user.id, user.id.toUpperCase()]) {
      expect((await list({ q })).items.map(({ id }) => id)).toEqual([user.id])
    }
    expect((await list({ q: 'find%' })).items).toEqual([])
    expect((await list({ q: crypto.randomUUID() })).items).toEqual([])
    const trail = await auditTrail(world, 'admin.users_listed')
    expect(trail.some(({ personal }) => personal.q === 'FINDME@EX')).toBe(true)
    expect(JSON.stringify(trail.map(({ before, after }) => [before, after]))).not.toContain(
      'FINDME',
    )
  })

  test('are shown with what is private, without secrets and what was made up', async () => {
    const { actor, user } = await world.person('shown')
    expect(await view(user.id)).toMatchObject({
      email: user.email,
      username: 'shown',
      state: 'open',
      mfa_enabled: false,
      environment_admin: false,
      last_used_at: expect.any(String),
    })
    expect(JSON.stringify(await view(user.id))).not.toContain('argon2')
    await world.call('auth.close_account', actor, { password })
    expect(await view(user.id)).toMatchObject({ state: 'closed', email: null, username: null })
    const looks = await auditTrail(world, 'admin.user_viewed')
    expect(looks.filter(({ target_id }) => target_id === user.id).length).toBe(3)
  })
})
