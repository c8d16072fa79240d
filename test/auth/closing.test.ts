import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { findProfiles } from '../../src/auth/accounts/users.ts'
import { features } from '../../src/features.ts'
import type { Actor } from '../../src/kernel/access.ts'
import { administration } from '../admin/setup.ts'
import { auditTrail } from '../support/audit.ts'
import { giveFactor } from '../support/factor.ts'
import { queuesLater, workOff } from '../support/jobs.ts'
import { failure, password } from './setup.ts'

interface Closed {
  readonly id: string
  readonly deleted: true
  readonly kept: string[]
}

let world: Awaited<ReturnType<typeof administration>>
let root: Actor
beforeAll(async () => {
  world = await administration()
  root = await world.admin('root')
})
afterAll(() => world.close())

const close = (actor: Actor, input: object = { password }) =>
  world.call<Closed>('auth.close_account', actor, input)

describe('closing an account', () => {
  test('erases the person, ends their sessions, and says what is kept', async () => {
    const avatar = 'https://example.org/me.png'
    const { actor, token, user, refresh_token } = await world.person('leaving', {
      name: 'Lea Ving',
      avatar,
      wallet_address: `0x${'2'.repeat(40)}`,
    })
    const { kept, ...answer } = await close(actor)
    expect(answer).toEqual({ id: user.id, deleted: true })
    const declared = features.flatMap(({ personalData }) => personalData?.kept ?? [])
    expect(kept.toSorted()).toEqual(declared.toSorted())
    expect(kept.length).toBeGreaterThan(3)
    expect(() => world.authenticator.verify(token)).toThrow('Session revoked')
    const refresh = world.call('auth.refresh', null, { refresh_token })
    expect(await world.refused(refresh)).toBe('session_revoked')
    const login = world.call('auth.login', null, { email: user.email, password })
    expect(await world.refused(login)).toBe('invalid_credentials')

    const { sql } = world.kernel.db
    const rows = await sql`
      select u::text as row from users u where id = ${user.id}
      union all select s::text from sessions s where user_id = ${user.id}
      union all select d::text from devices d where user_id = ${user.id}
      union all select l::text from one_time_links l where user_id = ${user.id}`
    const left = rows.map(({ row }: { row: string }) => row).join('\n')
    for (const trace of ['leaving', 'Lea', avatar, '0x2', 'argon2', 'test device', '10.0.']) {
      expect(left).not.toContain(trace)
    }
    expect(await findProfiles(sql, [user.id])).toEqual([])
    const listed = world.call<{ items: unknown[] }>('users.list', root, { q: 'deleted' })
    expect((await listed).items).toEqual([])
    for (const name of ['auth.me', 'users.get', 'users.update']) {
      const input = name === 'auth.me' ? {} : { user_id: user.id }
      expect(await world.refused(world.call(name, actor, input))).toBe('not_found')
    }
    // Address and name are free again.
    expect((await world.person('leaving')).user.username).toBe('leaving')
    const [letter] = (await world.letters(user.email)).filter(
      ({ template }) => template === 'account_closed',
    )
    expect(letter).toBeDefined()
    const [line] = await auditTrail(world, 'users.closed')
    expect(line).toMatchObject({ actor_id: user.id, target_id: user.id, outcome: 'success' })
  })

  test('needs the password: a session alone is not enough', async () => {
    const { actor, token } = await world.person('careful')
    for (const [input, code] of [
      [{}, 'validation_failed'],
      [{ password: 'a wrong password' }, 'invalid_credentials'],
      [{ password: '' }, 'invalid_credentials'],
      [{ password: 7 }, 'validation_failed'],
      [{ password, sure: true }, 'validation_failed'],
    ] as const) {
      expect(await world.refused(close(actor, input))).toBe(code)
    }
    const byId = world.call('users.delete', actor, { user_id: actor.userId })
    expect(await world.refused(byId)).toBe('validation_failed')
    world.authenticator.verify(token)
  })

  test('needs a fresh code instead where there is a second factor', async () => {
    const { actor } = await world.person('strong')
    await giveFactor(world.kernel, actor.userId)
    expect(await world.refused(close(actor))).toBe('step_up_required')
    expect(await world.openSessions(actor.userId)).toBe(1)
    await world.act('auth.close_account', actor, {})
    expect(await world.openSessions(actor.userId)).toBe(0)
  })

  test('with an old password fails when it is changed at the same moment', async () => {
    const { actor } = await world.person('changing')
    let closing: Promise<string> | undefined
    await world.kernel.db.transaction(async ({ sql }) => {
      await sql`update users set password_hash = null where id = ${actor.userId}`
      // It finds the password right, as it still is for others, and then waits for this lock.
      closing = world.refused(close(actor))
      await Bun.sleep(500)
    })
    expect(await closing).toBe('conflict')
    expect(await world.openSessions(actor.userId)).toBe(1)
  })

  test('of others is for administrators, with a fresh code', async () => {
    const { user, token } = await world.person('victim')
    const { actor: stranger } = await world.person('enemy')
    const input = { user_id: user.id }
    expect(await world.refused(world.call('users.delete', stranger, input))).toBe('forbidden')
    const tried = world.call('users.delete', stranger, { ...input, password })
    expect(await world.refused(tried)).toBe('forbidden')
    const sole = world.call('users.delete', { ...root, mfa: false }, input)
    expect(await world.refused(sole)).toBe('forbidden')
    expect(await world.refused(world.call('users.delete', root, input))).toBe('step_up_required')
    world.authenticator.verify(token)
    await world.act('users.delete', root, input)
    expect(() => world.authenticator.verify(token)).toThrow('Session revoked')
    expect(await failure(world.act('users.delete', root, input))).toMatchObject({
      code: 'not_found',
    })
  })

  test('is done once, of many at the same moment', async () => {
    const { actor, user } = await world.person('hasty')
    const results = await Promise.allSettled(Array.from({ length: 4 }, () => close(actor)))
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1)
    const letters = await world.letters(user.email)
    expect(letters.filter(({ template }) => template === 'account_closed').length).toBe(1)
  })

  test('at the moment of signing in leaves no session that works', async () => {
    for (let i = 0; i < 5; i++) {
      const { actor, user } = await world.person(`moment-${i}`)
      const logins = Array.from({ length: 4 }, () =>
        world.call<{ token: string }>('auth.login', null, { email: user.email, password }),
      )
      // As soon as the first has hashed, so that others are still on their way.
      await Promise.race(logins).catch(() => undefined)
      await close(actor)
      await Promise.allSettled(logins)
      expect(await world.openSessions(user.id)).toBe(0)
    }
  })
})

describe('conversations of somebody who has left', () => {
  const sql = () => world.kernel.db.sql
  /** A conversation with messages from both, straight into the tables. */
  async function conversation(one: string, other: string, count: number): Promise<number> {
    const [a, b] = one < other ? [one, other] : [other, one]
    const [row] = await sql()`
      insert into conversations (id, user_a, user_b, a_wrote, b_wrote)
      values (${crypto.randomUUID()}, ${a}, ${b}, true, true) returning number::float8 as number`
    await sql()`
      insert into messages (conversation, id, sender_id, message_type, created_at)
      select ${row.number}, gen_random_uuid(),
        case n % 2 when 0 then ${a}::uuid else ${b}::uuid end, 0, now()
      from generate_series(1, ${count}) n`
    return row.number as number
  }
  const count = async (number: number) => {
    const [row] = await sql()`
      select (select count(*)::int from messages where conversation = ${number}) as messages,
        (select count(*)::int from conversations where number = ${number}) as conversations`
    return row as { messages: number; conversations: number }
  }

  test('stay with the other side until it leaves too; then they go in steps', async () => {
    const [ann, bob, cem] = [
      await world.person('ann'),
      await world.person('bob'),
      await world.person('cem'),
    ]
    const both = await conversation(ann.user.id, bob.user.id, 12_000)
    const other = await conversation(ann.user.id, cem.user.id, 10)
    await sql()`insert into last_seen (user_id, at) values (${ann.user.id}, now())`
    await close(ann.actor)
    await queuesLater(world.kernel, 61_000)
    await workOff(world.kernel)
    expect(await count(both)).toEqual({ messages: 12_000, conversations: 1 })
    expect((await sql()`select from last_seen where user_id = ${ann.user.id}`).length).toBe(0)
    await close(bob.actor)
    await queuesLater(world.kernel, 61_000)
    await workOff(world.kernel)
    expect(await count(both)).toEqual({ messages: 0, conversations: 0 })
    expect(await count(other)).toEqual({ messages: 10, conversations: 1 })
  })
})
