import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { auditFeature } from '../../src/audit/index.ts'
import { Failure } from '../../src/base/errors.ts'
import { input, t as schema } from '../../src/base/schema.ts'
import { type Actor, user } from '../../src/kernel/access.ts'
import { feature } from '../../src/kernel/feature.ts'
import { operation } from '../../src/kernel/operation.ts'
import { auditTrail } from '../support/audit.ts'
import { testKernel } from '../support/kernel.ts'
import { administrator, device, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { request } from './setup.ts'

/** Which acts of identity the log tells of, and what it says. */

let server: TestServer
let ada: Person
let admin: Person
beforeAll(async () => {
  server = await testServer()
  ada = await person(server, 'ada')
  admin = await administrator(server)
})
afterAll(() => server.stop())

const last = async (action: string) => (await auditTrail(server, action)).at(-1)
const call = (method: string, path: string, body?: unknown, token?: string) =>
  rest(server, method, `/api/v1${path}`, {
    ...(token === undefined ? {} : { token }),
    ...(body === undefined ? {} : { body }),
    headers: { 'User-Agent': 'Tests/2.0' },
  })

describe('the log tells of', () => {
  test('registering and signing in: who, from where and with what', async () => {
    const { body } = await call('POST', '/auth/register', {
      email: 'new@example.org',
      password: 'a password of the tests',
    })
    const from = { address: '127.0.0.1', user_agent: 'Tests/2.0' }
    const id = body.user.id as string
    expect(await last('auth.registered')).toMatchObject({
      actor_id: id,
      target_type: 'user',
      target_id: id,
      outcome: 'success',
      transport: 'rest',
      personal: from,
    })
    expect(await last('auth.signed_in')).toMatchObject({
      actor_id: id,
      target_type: 'session',
      target_id: body.session_id,
      subject_id: id,
    })
  })

  test('a wrong password, by the account it was tried on', async () => {
    await call('POST', '/auth/login', { email: ada.email, password: 'not her password' })
    expect(await last('auth.sign_in_failed')).toMatchObject({
      outcome: 'failure',
      actor_kind: 'stranger',
      actor_id: null,
      target_type: 'user',
      target_id: ada.id,
      personal: { address: '127.0.0.1' },
    })
  })

  test('a login of nobody, without what was typed: it may be a password', async () => {
    const typed = 'hunter2-typed-into-the-wrong-field'
    for (const login of [typed, typed.toUpperCase()]) {
      await call('POST', '/auth/login', { login, password: 'x-x-x-x-x' })
    }
    const lines = (await auditTrail(server, 'auth.sign_in_failed')).slice(-2)
    expect(lines[0]).toMatchObject({ target_id: null, subject_id: null })
    expect(lines[0]?.personal.login_hash).toBe(lines[1]?.personal.login_hash)
    expect(JSON.stringify(await auditTrail(server)).toLowerCase()).not.toContain(typed)
  })

  test('signing out, and ending another session', async () => {
    const [phone, tablet] = [await device(server, ada), await device(server, ada)]
    const { body: sessions } = await call('GET', '/auth/sessions', undefined, tablet.token)
    const current = sessions.items.find(({ current: own }: { current: boolean }) => own)
    await call('DELETE', `/auth/sessions/${current.id.toUpperCase()}`, undefined, phone.token)
    expect(await last('auth.session_revoked')).toMatchObject({
      actor_id: ada.id,
      target_type: 'session',
      target_id: current.id,
    })
    await call('POST', '/auth/logout', {}, phone.token)
    expect(await last('auth.signed_out')).toMatchObject({
      actor_id: ada.id,
      target_id: ada.id,
      after: { sessions: 1 },
    })
  })

  test('a refresh token that comes again after its successor was used', async () => {
    const phone = await device(server, ada)
    const refresh = (token: string) => call('POST', '/auth/refresh', { refresh_token: token })
    const { body: second } = await refresh(phone.refreshToken)
    await refresh(second.refresh_token)
    expect((await refresh(phone.refreshToken)).body.code).toBe('refresh_reused')
    expect(await last('auth.refresh_reused')).toMatchObject({
      outcome: 'denied',
      actor_id: null,
      subject_id: ada.id,
      target_type: 'session',
      after: { user_id: ada.id, revoked: 1 },
    })
  })

  test('what administrators do with accounts', async () => {
    const account = { email: 'made@example.org', password: 'a password of the tests' }
    const { body: made } = await call('POST', '/users', account, admin.token)
    const about = { actor_id: admin.id, target_type: 'user', target_id: made.id }
    expect(await last('users.created')).toMatchObject({ ...about, after: { roles: ['user'] } })
    await call('PUT', `/users/${made.id.toUpperCase()}`, { name: 'Renamed' }, admin.token)
    expect(await last('users.updated')).toMatchObject({ ...about, after: { fields: ['name'] } })
    expect(JSON.stringify(await auditTrail(server, 'users.'))).not.toContain('Renamed')
  })

  test('who was refused, but not of every time', async () => {
    const bob = await person(server, 'bob')
    for (let n = 0; n < 12; n++) await call('DELETE', `/users/${ada.id}`, undefined, bob.token)
    const denials = async () =>
      (await auditTrail(server, 'access.denied')).filter(({ actor_id }) => actor_id === bob.id)
    await until(async () => (await denials()).length > 0, 'it is written down')
    expect((await denials())[0]).toMatchObject({
      outcome: 'denied',
      target_type: 'operation',
      target_id: 'users.delete',
      after: { code: 'forbidden' },
    })
  })

  test('no password, token or code that passed by', async () => {
    const text = JSON.stringify(await auditTrail(server))
    for (const secret of [ada.password, ada.token, ada.refreshToken, admin.token]) {
      expect(text).not.toContain(secret)
    }
  })
})

const store = operation('tests.batch', {
  summary: 'A batch whose items may fail',
  access: user(),
  limit: 'message',
  input: input({ text: schema.String() }),
  output: schema.Object({}),
  async batch(ctx, items) {
    const texts = items.map(({ input: { text } }) => text)
    if (texts.includes('poison')) await ctx.sql`select 1 / 0`
    return await Promise.all(
      texts.map((text, n) => {
        ctx.audit(n, { action: 'tests.stored', after: { text } })
        return text === 'fail' ? new Failure('conflict') : {}
      }),
    )
  },
})

describe('in a batch', () => {
  const actor: Actor = {
    kind: 'user',
    userId: '0198a000-0000-7000-8000-00000000ada0',
    sessionId: '0198a000-0000-7000-8000-00000000ada1',
    roles: ['user'],
    mfa: false,
    expiresAtMs: Number.MAX_SAFE_INTEGER,
  }

  test('each item has its lines, and one that fails has none', async () => {
    const own = await testServer({
      features: [auditFeature, feature({ name: 'tests', operations: [store] })],
    })
    const ask = (text: string, key?: string) =>
      Promise.resolve(own.executor.execute(store, { actor, request, input: { text }, key })).then(
        () => text,
        ({ code }: Failure) => code,
      )
    const answers = await Promise.all(['a', 'fail', 'b', 'poison', 'c'].map((text) => ask(text)))
    expect(answers).toEqual(['a', 'conflict', 'b', 'internal', 'c'])
    expect([await ask('d', 'key-1'), await ask('d', 'key-1')]).toEqual(['d', 'd'])
    expect(await ask('fail', 'key-2')).toBe('conflict')
    const lines = await auditTrail(own, 'tests.')
    expect(new Set(lines.map(({ after }) => after.text))).toEqual(new Set(['a', 'b', 'c', 'd']))
    expect(lines.length).toBe(4)
    expect(lines[0]).toMatchObject({ actor_id: actor.userId, personal: { address: '203.0.113.7' } })
    await own.stop()
  })
})

test('refusals of one caller are written down a few times, then once a minute', async () => {
  const t = await testKernel({ features: [auditFeature] })
  const secret = operation('tests.secret', {
    summary: 'Nobody’s business',
    access: user({ roles: ['admin'] }),
    limit: 'read',
    input: input({}),
    output: schema.Object({}),
    run: () => Promise.resolve({}),
  })
  const actor: Actor = {
    kind: 'user',
    userId: '0198a000-0000-7000-8000-00000000b0b0',
    sessionId: '0198a000-0000-7000-8000-00000000b0b1',
    roles: ['user'],
    mfa: false,
    expiresAtMs: Number.MAX_SAFE_INTEGER,
  }
  const ask = async (of: Actor) => {
    const outcome = (async () =>
      await t.executor.execute(secret, { actor: of, request, input: {} }))()
    return await outcome.then(
      () => 'ok',
      ({ code }: Failure) => code,
    )
  }
  for (let n = 0; n < 50; n++) expect(await ask(actor)).toBe('forbidden')
  const admin: Actor = { ...actor, userId: actor.sessionId, roles: ['admin'] }
  expect(await ask(admin)).toBe('mfa_required')
  await t.executor.idle()
  const lines = await auditTrail(t, 'access.')
  expect(lines.filter(({ actor_id }) => actor_id === actor.userId).length).toBe(5)
  const hers = lines.filter(({ actor_id }) => actor_id === admin.userId)
  expect(hers).toMatchObject([{ outcome: 'denied', after: { code: 'mfa_required' } }])
  await t.close()
})
