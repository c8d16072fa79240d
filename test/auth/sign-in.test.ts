import { afterAll, beforeAll, beforeEach, expect, spyOn, test } from 'bun:test'
import type { Account, SignedIn } from '../../src/auth/shapes.ts'
import { login, register } from '../../src/auth/sign-in/operations.ts'
import { errorPayload } from '../../src/base/errors.ts'
import { LIMITS } from '../../src/kernel/limits.ts'
import { failure, identity, password } from './setup.ts'

let world: Awaited<ReturnType<typeof identity>>
beforeAll(async () => {
  world = await identity({ parts: [] })
})
afterAll(() => world.close())

const signUp = (input: object, key?: string) =>
  world.call<SignedIn>('auth.register', null, { password, ...input }, key)
const signIn = (input: object, key?: string) => world.call<SignedIn>('auth.login', null, input, key)

const verify = spyOn(Bun.password, 'verify')
beforeEach(() => void verify.mockClear())
afterAll(() => verify.mockRestore())

test('registering answers with tokens that work and the whole account', async () => {
  const answer = await signUp({
    email: 'Ann@Example.org',
    username: 'Ann.A',
    name: 'Ann A.',
    avatar: 'https://example.org/ann.png',
    walletAddress: `0x${'aB'.repeat(20)}`,
    actorType: 'creator',
    locale: 'fr',
    timeZone: 'Europe/Paris',
  })
  expect(answer).toEqual({
    token: expect.any(String),
    refresh_token: expect.stringMatching(/^[\w-]{43}$/),
    token_type: 'Bearer',
    expires_at: expect.any(String),
    session_id: expect.any(String),
    device_token: expect.stringMatching(/^[\w-]{43}$/),
    user: {
      id: expect.any(String),
      email: 'Ann@Example.org',
      email_verified: false,
      username: 'Ann.A',
      name: 'Ann A.',
      avatar: 'https://example.org/ann.png',
      roles: ['user', 'creator'],
      actor_type: 'creator',
      locale: 'fr',
      time_zone: 'Europe/Paris',
      wallet_address: `0x${'aB'.repeat(20)}`,
      wallet_verified: false,
      created_at: expect.any(String),
    },
  })
  const actor = world.authenticator.verify(answer.token)
  expect(actor).toEqual({
    kind: 'user',
    mfa: false,
    userId: answer.user.id,
    sessionId: answer.session_id,
    roles: ['user', 'creator'],
    expiresAtMs: Date.parse(answer.expires_at),
  })
  expect(await world.call<Account>('auth.me', actor, {})).toEqual(answer.user)
})

test('an account with nothing but the necessary gets the defaults', async () => {
  const { user } = await signUp({ email: 'bare@example.org' })
  expect(user).toMatchObject({
    username: 'bare',
    name: null,
    avatar: null,
    roles: ['user'],
    actor_type: 'user',
    locale: 'en',
    time_zone: 'UTC',
    wallet_address: null,
  })
})

test('a name is derived from the address, unique and of the right form', async () => {
  const names: string[] = []
  for (const email of ['dan@a.org', 'dan@b.org', 'dan@c.org', 'DAN@d.org']) {
    names.push((await signUp({ email })).user.username)
  }
  expect(names[0]).toBe('dan')
  expect(new Set(names.map((name) => name.toLowerCase())).size).toBe(4)
  for (const name of names) expect(name).toMatch(/^dan(-\d+)?$/i)
  expect((await signUp({ email: 'x@example.org' })).user.username).toBe('user-x')
  expect((await signUp({ email: "o'neil+spam@example.org" })).user.username).toBe('oneilspam')
  const long = (await signUp({ email: `${'l'.repeat(64)}@example.org` })).user.username
  expect(long).toBe('l'.repeat(40))
})

test('a taken address or name is refused, naming the field, in any case of letters', async () => {
  await signUp({ email: 'taken@example.org', username: 'Taken' })
  const byEmail = await failure(signUp({ email: 'TAKEN@example.ORG', username: 'free-1' }))
  expect(byEmail).toMatchObject({
    code: 'already_exists',
    errors: [{ path: '/email', message: 'is taken' }],
  })
  const byName = await failure(signUp({ email: 'free@example.org', username: 'tAKEN' }))
  expect(byName).toMatchObject({
    code: 'already_exists',
    errors: [{ path: '/username', message: 'is taken' }],
  })
  // What was refused has left nothing behind.
  await signUp({ email: 'free@example.org', username: 'free-1' })
})

test('of ten who take an address at once one gets it; a derived name, all ten', async () => {
  const same = await Promise.allSettled(
    Array.from({ length: 10 }, (_, i) => signUp({ email: 'rush@example.org', name: `n${i}` })),
  )
  expect(same.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  const alike = await Promise.all(
    Array.from({ length: 10 }, (_, i) => signUp({ email: `crowd@${i}.example.org` })),
  )
  expect(new Set(alike.map(({ user }) => user.username)).size).toBe(10)
})

test.each([
  ['no address', { email: undefined }],
  ['an address without domain', { email: 'ann' }],
  ['an address with a line break', { email: 'ann@example.org\nbcc:x@y.org' }],
  ['a short password', { password: '1234567' }],
  ['an endless password', { password: 'x'.repeat(201) }],
  ['a password with a NUL', { password: 'long enough\u0000 but cut' }],
  ['a short name', { username: 'ab' }],
  ['a long name', { username: 'a'.repeat(51) }],
  ['a name with a space', { username: 'ann a' }],
  ['a name with letters that look alike', { username: 'аnn' }],
  ['a display name with control characters', { name: 'Ann\u001b[31m' }],
  ['a picture in the clear', { avatar: 'http://example.org/a.png' }],
  ['a picture that runs', { avatar: 'javascript:alert(1)' }],
  ['a picture with scripts', { avatar: 'data:image/svg+xml;base64,PHN2Zz4=' }],
  ['a page as picture', { avatar: 'data:text/html;base64,PHA+' }],
  ['a huge picture', { avatar: `data:image/png;base64,${'A'.repeat(17_000)}` }],
  ['half a wallet', { wallet_address: '0x1234' }],
  ['a role', { roles: ['admin'] }],
  ['an actor type that is none', { actor_type: 'admin' }],
  ['an unknown language', { locale: 'de' }],
  ['a time zone that is none', { time_zone: 'Mars/Olympus' }],
  ['an offset as time zone', { time_zone: '+01:00' }],
])('registering with %s is refused', async (_name, change) => {
  const input = { email: 'bad@example.org', ...change }
  expect(await world.refused(signUp(input))).toBe('validation_failed')
})

test('a repeated registration is one account and one session, with tokens of its own', async () => {
  const input = { email: 'twice@example.org' }
  const first = await signUp(input, 'key-1')
  const again = await signUp(input, 'key-1')
  expect(again.user).toEqual(first.user)
  expect(again.session_id).toBe(first.session_id)
  expect(again.refresh_token).not.toBe(first.refresh_token)
  for (const { token, refresh_token } of [first, again]) {
    expect(world.authenticator.verify(token).sessionId).toBe(first.session_id)
    await world.call('auth.refresh', null, { refresh_token })
  }
  const [{ n }] = await world.kernel.db.sql`
    select count(*)::int as n from sessions where user_id = ${first.user.id}`
  expect(n).toBe(1)
  const other = signUp({ email: 'thrice@example.org' }, 'key-1')
  expect(await world.refused(other)).toBe('idempotency_key_reused')
  const records = await world.kernel.db.sql`select answer from idempotency`
  expect(records.map(({ answer }: { answer: string }) => answer)).toEqual([first.session_id])
})

test('a repeated registration does not open a session that was ended meanwhile', async () => {
  const input = { email: 'gone@example.org' }
  const first = await signUp(input, 'key-2')
  await world.call('auth.logout', world.authenticator.verify(first.token), {})
  expect(await world.refused(signUp(input, 'key-2'))).toBe('session_revoked')
})

test('one signs in by address or name, in any case of letters', async () => {
  const { user, session_id } = await signUp({ email: 'eve@example.org', username: 'Eve-1' })
  for (const who of [
    { email: 'eve@example.org' },
    { email: 'EVE@EXAMPLE.ORG' },
    { username: 'eve-1' },
    { login: 'EVE-1' },
    { login: 'Eve@example.org' },
    { email: 'eve-1' },
  ]) {
    const answer = await signIn({ ...who, password })
    expect(answer.user).toEqual(user)
    expect(answer.session_id).not.toBe(session_id)
  }
})

test('an unknown user and a wrong password get the same answer for the same work', async () => {
  await signUp({ email: 'real@example.org' })
  const wrong = await failure(signIn({ email: 'real@example.org', password: 'not this one' }))
  expect(verify).toHaveBeenCalledTimes(1)
  const unknown = await failure(signIn({ email: 'nobody@example.org', password: 'not this one' }))
  expect(verify).toHaveBeenCalledTimes(2)
  expect(wrong.code).toBe('invalid_credentials')
  expect(errorPayload(unknown)).toEqual(errorPayload(wrong))
  for (const [, hash] of verify.mock.calls) {
    expect(hash as string).toStartWith('$argon2id$v=19$m=19456,t=2,p=1$')
  }
})

test('an account without password is as unknown', async () => {
  const { user } = await signUp({ email: 'federated@example.org' })
  await world.kernel.db.sql`update users set password_hash = null where id = ${user.id}`
  const answer = world.refused(signIn({ email: 'federated@example.org', password }))
  expect(await answer).toBe('invalid_credentials')
  expect(verify).toHaveBeenCalledTimes(1)
})

test('that an account is blocked is said to nobody but its owner', async () => {
  const { user } = await signUp({ email: 'blocked@example.org' })
  await world.kernel.db.sql`update users set blocked_at = now() where id = ${user.id}`
  const guess = signIn({ email: 'blocked@example.org', password: 'a guess it is' })
  expect(await world.refused(guess)).toBe('invalid_credentials')
  expect(await world.refused(signIn({ email: 'blocked@example.org', password }))).toBe('forbidden')
})

test('a bcrypt hash of an older system signs in and is replaced', async () => {
  const { user } = await signUp({ email: 'legacy@example.org' })
  const { sql } = world.kernel.db
  const old = await Bun.password.hash('old password', { algorithm: 'bcrypt', cost: 4 })
  await sql`update users set password_hash = ${old} where id = ${user.id}`
  const credentials = { email: 'legacy@example.org', password: 'old password' }
  expect(await world.refused(signIn({ ...credentials, password }))).toBe('invalid_credentials')
  await signIn(credentials)
  const [row] = await sql`select password_hash from users where id = ${user.id}`
  expect(row.password_hash).toStartWith('$argon2id$v=19$m=19456,t=2,p=1$')
  await signIn(credentials)
  expect(await world.refused(signIn({ ...credentials, password }))).toBe('invalid_credentials')
})

test.each([
  ['nobody', { password }, '/login'],
  ['two names', { email: 'a@example.org', username: 'a', password }, '/login'],
  ['no password', { email: 'a@example.org' }, '/password'],
  ['a provider that is off', { email: 'a@x.org', provider: 'dazeno', token: 't' }, '/provider'],
])('signing in with %s is refused where it is wrong', async (_name, input, path) => {
  const refused = await failure(signIn(input))
  expect(refused.code).toBe('validation_failed')
  expect(refused.errors?.[0]?.path).toBe(path)
  expect(verify).not.toHaveBeenCalled()
})

test('a repeated login is one session', async () => {
  await signUp({ email: 'again@example.org' })
  const credentials = { email: 'again@example.org', password }
  const [first, second] = [await signIn(credentials, 'key-3'), await signIn(credentials, 'key-3')]
  expect(second.session_id).toBe(first.session_id)
  // Whoever has the key but not the password learns nothing.
  const guess = signIn({ ...credentials, password: 'a guess it is' }, 'key-3')
  expect(await world.refused(guess)).toBe('invalid_credentials')
})

test('no password stands in a row', async () => {
  const rows = await world.kernel.db.sql`select u::text as row from users u`
  for (const { row } of rows) expect(row).not.toContain(password)
})

test('guessing and registering are limited by network address', async () => {
  for (const operation of [register, login]) {
    const attempt = async () => {
      await world.executor.execute(operation, {
        actor: null,
        input: {},
        request: {
          id: 'r',
          transport: 'rest',
          address: `192.0.2.${operation.name.length}`,
          userAgent: undefined,
          connectionId: undefined,
        },
      })
    }
    for (let i = 0; i < LIMITS.identity.burst; i++) {
      expect(await world.refused(attempt())).toBe('validation_failed')
    }
    expect(await world.refused(attempt())).toBe('rate_limited')
  }
})
