import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { knownDevice } from '../../src/auth/sessions/devices.ts'
import type { Device, SignedIn } from '../../src/auth/shapes.ts'
import { type TestClock, testClock } from '../../src/base/clock.ts'
import type { Actor } from '../../src/kernel/access.ts'
import { auditTrail } from '../support/audit.ts'
import { Client } from '../support/client.ts'
import { queuedLetters } from '../support/letters.ts'
import { person, rest } from '../support/people.ts'
import { testServer } from '../support/server.ts'
import { identity, password } from './setup.ts'

const DAY_MS = 86_400_000

let world: Awaited<ReturnType<typeof identity>>
let clock: TestClock
beforeAll(async () => {
  clock = testClock()
  world = await identity({ clock, env: { RATE_LIMITS: 'off' } })
})
afterAll(() => world.close())

interface Place {
  readonly address?: string
  readonly userAgent?: string
}
const home: Place = { address: '192.0.2.1', userAgent: 'Mozilla/5.0 (X11; Linux) Firefox/150.0' }

const register = (email: string, from: Place = home) =>
  world.call<SignedIn>('auth.register', null, { email, password }, undefined, undefined, from)
const signIn = (email: string, from: Place, device_token?: string, key?: string) => {
  const input = { email, password, ...(device_token === undefined ? {} : { device_token }) }
  return world.call<SignedIn>('auth.login', null, input, key, undefined, from)
}
const actorOf = ({ token }: SignedIn): Actor => world.authenticator.verify(token)
const devicesOf = async (signedIn: SignedIn, page: object = {}) =>
  await world.call<{ items: Device[]; next_cursor: string | null }>(
    'auth.devices',
    actorOf(signedIn),
    page,
  )
const news = async (userId: string) => {
  const letters = await queuedLetters(world.kernel, userId)
  const told = letters.filter(({ template }) => template === 'new_device').length
  const events = world.emitted.filter(
    ({ channel, payload }) =>
      channel === `user:${userId}` &&
      (JSON.parse(payload) as { notice: string }).notice === 'new_device',
  )
  expect(events).toHaveLength(told)
  return told
}

describe('news of a device', () => {
  test('the first one, at registration, is none', async () => {
    const { user, device_token } = await register('first@example.org')
    expect(device_token).toMatch(/^[\w-]{43}$/)
    expect(await news(user.id)).toBe(0)
  })

  test('one that shows its token is none, wherever it has travelled', async () => {
    const first = await register('travels@example.org')
    const away = { address: '203.0.113.9', userAgent: 'another version/2' }
    const again = await signIn('travels@example.org', away, first.device_token)
    expect(again.device_token).toBe(first.device_token as string)
    expect(await news(first.user.id)).toBe(0)
    expect((await devicesOf(again)).items).toMatchObject([
      { address: '203.0.113.9', current: true },
    ])
  })

  test('another device is, once', async () => {
    const { user } = await register('two@example.org')
    const phone = { address: '203.0.113.9', userAgent: 'RialtoApp/3' }
    const first = await signIn('two@example.org', phone)
    expect(await news(user.id)).toBe(1)
    await signIn('two@example.org', phone, first.device_token)
    expect(await news(user.id)).toBe(1)
    const [letter] = await queuedLetters(world.kernel, user.id)
    expect(letter?.template).toBe('verify_email')
    const notice = (await queuedLetters(world.kernel, user.id)).at(-1)
    expect(notice?.data).toEqual({ at: clock.iso(), device: 'RialtoApp', address: '203.0.113.9' })
  })

  test('the token of somebody else recognises nobody', async () => {
    const mallory = await register('mallory@example.org', { address: '203.0.113.1' })
    const { user } = await register('victim@example.org')
    const answer = await signIn(
      'victim@example.org',
      { address: '203.0.113.1' },
      mallory.device_token,
    )
    expect(answer.device_token).not.toBe(mallory.device_token)
    expect(await news(user.id)).toBe(1)
  })

  test('a client that keeps no token is news in another network or of another kind', async () => {
    const { user } = await register('keeps-none@example.org')
    for (let i = 0; i < 3; i++) await signIn('keeps-none@example.org', home)
    expect(await news(user.id)).toBe(0)
    await signIn('keeps-none@example.org', { ...home, address: '192.0.2.2' })
    expect(await news(user.id)).toBe(1)
    await signIn('keeps-none@example.org', { ...home, userAgent: 'curl/8.0' })
    expect(await news(user.id)).toBe(2)
    const last = await signIn('keeps-none@example.org', home)
    // One row a kind and network, with all of its sessions.
    const { items } = await devicesOf(last)
    expect(items).toHaveLength(3)
    expect(items.find(({ current }) => current)?.sessions).toBe(5)
  })

  test('a newer version of the same browser is none, in the same IPv6 network', async () => {
    const at = (tail: string, version: number) => ({
      address: `2001:db8:1:2::${tail}`,
      userAgent: `Mozilla/5.0 (X11; Linux) Firefox/${version}.0`,
    })
    const { user } = await register('updates@example.org', at('1', 150))
    await signIn('updates@example.org', at('2', 151))
    expect(await news(user.id)).toBe(0)
    await signIn('updates@example.org', { ...at('2', 151), address: '2001:db8:1:3::2' })
    expect(await news(user.id)).toBe(1)
  })

  test('a kind and network that was not seen for 30 days is, again', async () => {
    const { user } = await register('back@example.org')
    clock.advance(30 * DAY_MS)
    await signIn('back@example.org', home)
    expect(await news(user.id)).toBe(1)
  })

  test('a device that keeps its token is not taken for one that keeps none', async () => {
    const own = await register('household@example.org')
    await signIn('household@example.org', home, own.device_token)
    await signIn('household@example.org', home)
    expect(await news(own.user.id)).toBe(1)
  })

  test('a wrong password is none', async () => {
    const { user } = await register('guessed@example.org')
    const guess = { email: 'guessed@example.org', password: 'a guess it is' }
    await world.refused(world.call('auth.login', null, guess))
    expect(await news(user.id)).toBe(0)
  })

  test('a repeated login with its key is one device, with a token that is known', async () => {
    const { user } = await register('lossy@example.org')
    const phone = { address: '203.0.113.9' }
    const first = await signIn('lossy@example.org', phone, undefined, 'lossy')
    const again = await signIn('lossy@example.org', phone, undefined, 'lossy')
    expect(await news(user.id)).toBe(1)
    const { db } = world.kernel
    const known = (token?: string) => db.read((sql) => knownDevice(sql, user.id, token))
    expect(await known(again.device_token)).toBeString()
    expect(await known(first.device_token)).toBeUndefined()
    expect(await known(undefined)).toBeUndefined()
  })

  test('of ten logins at once with the token all are the one device', async () => {
    const { user, device_token } = await register('crowd@example.org')
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => signIn('crowd@example.org', home, device_token)),
    )
    const [last] = answers
    expect((await devicesOf(last as SignedIn)).items).toMatchObject([{ sessions: 11 }])
    expect(await news(user.id)).toBe(0)
  })

  test('is in the audit log', async () => {
    const { user } = await register('noted@example.org')
    await signIn('noted@example.org', { address: '203.0.113.77' })
    const lines = await auditTrail(world, 'auth.new_device')
    const own = lines.filter(({ actor_id }) => actor_id === user.id)
    expect(own.map(({ personal }) => personal.address)).toEqual(['203.0.113.77'])
  })
})

describe('the list', () => {
  test('has one’s own, newest first, in pages', async () => {
    await register('other@example.org')
    let last = await register('lists@example.org')
    for (let i = 1; i <= 4; i++) {
      clock.advance(1_000)
      last = await signIn('lists@example.org', {
        address: `203.0.113.${i}`,
        userAgent: `App${i}/1`,
      })
    }
    const first = await devicesOf(last, { limit: 3 })
    expect(first.items.map(({ name }) => name)).toEqual(['App4', 'App3', 'App2'])
    expect(first.items[0]).toMatchObject({ current: true, sessions: 1, address: '203.0.113.4' })
    const rest_ = await devicesOf(last, { limit: 3, cursor: first.next_cursor })
    expect(rest_.items.map(({ name }) => name)).toEqual(['App1', 'Firefox, Linux'])
    expect(rest_.next_cursor).toBeNull()
    const bad = world.call('auth.devices', actorOf(last), { cursor: 'no-cursor' })
    expect(await world.refused(bad)).toBe('validation_failed')
  })

  test('keeps the fifty that were seen last', async () => {
    let last = await register('many@example.org')
    for (let i = 0; i < 52; i++) {
      clock.advance(1_000)
      last = await signIn('many@example.org', {
        address: `198.51.100.${i}`,
        userAgent: `App${i}/1`,
      })
    }
    const { items } = await devicesOf(last, { limit: 100 })
    expect(items).toHaveLength(50)
    expect(items.map(({ name }) => name)).not.toContain('Firefox, Linux')
    expect(items.map(({ name }) => name)).toContain('App51')
  })
})

describe('forgetting one', () => {
  test('ends its sessions, and it is news when it comes back', async () => {
    const own = await register('forgets@example.org')
    const phone = { address: '203.0.113.9', userAgent: 'Phone/1' }
    const one = await signIn('forgets@example.org', phone)
    const two = await signIn('forgets@example.org', phone, one.device_token)
    const { items } = await devicesOf(own)
    const id = items.find(({ name }) => name === 'Phone')?.id
    const forget = () => world.call('auth.devices.forget', actorOf(own), { device_id: id })
    expect(await forget()).toEqual({ device_id: id, sessions_ended: 2 } as never)
    expect(world.revoked).toEqual(expect.arrayContaining([one.session_id, two.session_id]))
    expect(world.revoked).not.toContain(own.session_id)
    expect(await world.refused(forget())).toBe('not_found')
    await signIn('forgets@example.org', phone, one.device_token)
    expect(await news(own.user.id)).toBe(2)
  })

  test('that is somebody else’s is refused as one that is not', async () => {
    const mallory = await register('thief@example.org')
    const own = await register('owner@example.org')
    const [theirs] = (await devicesOf(own)).items
    const forget = (device_id: string | undefined) =>
      world.call('auth.devices.forget', actorOf(mallory), { device_id })
    expect(await world.refused(forget(theirs?.id))).toBe('not_found')
    expect(await world.refused(forget(crypto.randomUUID()))).toBe('not_found')
    expect((await devicesOf(own)).items).toHaveLength(1)
  })

  test('while it signs in leaves no session behind', async () => {
    const own = await register('race@example.org')
    for (let i = 0; i < 5; i++) {
      const phone = { address: `203.0.113.${i}`, userAgent: `Phone${i}/1` }
      const one = await signIn('race@example.org', phone)
      const id = (await devicesOf(own)).items.find(({ name }) => name === `Phone${i}`)?.id
      const [login] = await Promise.all([
        signIn('race@example.org', phone, one.device_token),
        Bun.sleep(60 + i * 8).then(() =>
          world.call('auth.devices.forget', actorOf(own), { device_id: id }),
        ),
      ])
      const [session] = await world.kernel.db.sql`
        select device_id, revoked_at from sessions where id = ${login.session_id}`
      // It either came before, and ended with the device, or after, as a new one.
      expect(session.revoked_at !== null || session.device_id !== id).toBe(true)
    }
  })
})

test('tokens of devices are not in the database', async () => {
  const { device_token, user } = await register('hashed@example.org')
  const [row] = await world.kernel.db.sql`
    select d::text as row, encode(token_hash, 'escape') as hash from devices d
    where user_id = ${user.id}`
  expect(row.row).not.toContain(device_token)
  expect(row.hash).not.toContain(device_token)
})

test('a device that is connected hears of a new one at once', async () => {
  const server = await testServer()
  try {
    const own = await person(server, 'ann')
    const client = await Client.connect(server.wsUrl, own.token)
    await rest(server, 'POST', '/api/v1/auth/login', {
      body: { email: own.email, password: own.password },
      headers: { 'User-Agent': 'Another/1.0' },
    })
    const frame = await client.wait(({ type }) => type === 'security_notice')
    expect(frame.payload).toMatchObject({ notice: 'new_device', address: '127.0.0.1' })
    const listed = await rest(server, 'GET', '/api/v1/auth/devices', { token: own.token })
    expect(listed.body['items']).not.toBeEmpty()
    await client.close()
  } finally {
    await server.stop()
  }
})
