import { afterAll, beforeAll, expect, test } from 'bun:test'
import { ConfigError } from '../../src/config.ts'
import { Client } from '../support/client.ts'
import { restWithFactor } from '../support/mfa.ts'
import { administrator, device, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** Two instances without Redis: what one does, the other learns from the database. */
let here: TestServer
let there: TestServer
let root: Person
beforeAll(async () => {
  here = await testServer()
  there = await testServer({ database: here.database })
  root = await administrator(here)
})
afterAll(async () => {
  await there.stop()
  await here.stop()
})

/** What the protocol promises, and some slack for a machine that does other things. */
const WITHIN_MS = 1_000 + 1_000
const REVOKED = 4502

const act = (method: string, path: string, body: object = {}) =>
  restWithFactor(here, method, path, { as: root, body })
const me = (who: Person, at: TestServer) =>
  rest(at, 'GET', '/api/v1/users/me', { token: who.token })

/** Signed in on two devices, with a socket on each instance. */
async function connected(name: string) {
  const phone = await person(here, name)
  const laptop = await device(there, phone)
  const sockets = await Promise.all([
    Client.connect(here.wsUrl, phone.token),
    Client.connect(there.wsUrl, laptop.token),
  ])
  return { phone, laptop, sockets }
}

/** Resolves when both sockets are closed and both tokens refused, everywhere. */
async function cutOff({ phone, laptop, sockets }: Awaited<ReturnType<typeof connected>>) {
  const startMs = performance.now()
  const codes = await Promise.all(sockets.map(async (one) => (await one.whenClose()).code))
  for (const at of [here, there]) {
    for (const who of [phone, laptop]) {
      await until(async () => (await me(who, at)).status === 401, 'refused', WITHIN_MS)
    }
  }
  expect(performance.now() - startMs).toBeLessThan(WITHIN_MS)
  expect(codes).toEqual([REVOKED, REVOKED])
}

test('a blocked account is out of every instance within a second', async () => {
  const them = await connected('blocked')
  const { phone } = them
  // The control: sessions of others live on.
  const other = await connected('other')
  const { status } = await act('POST', `/api/v1/admin/users/${phone.id}/block`, { reason: 'Spam' })
  expect(status).toBe(200)
  await cutOff(them)
  const { email, password } = phone
  const login = await rest(there, 'POST', '/api/v1/auth/login', { body: { email, password } })
  expect([login.status, login.body['code']]).toEqual([403, 'forbidden'])
  expect(other.sockets.map(({ closed }) => closed)).toEqual([undefined, undefined])
  expect((await me(other.phone, there)).status).toBe(200)
  await act('POST', `/api/v1/admin/users/${phone.id}/unblock`, {})
  await device(there, phone)
  await Promise.all(other.sockets.map((one) => one.close()))
})

test('a role that is taken away is gone on every instance within a second', async () => {
  const them = await connected('manager')
  const path = `/api/v1/admin/users/${them.phone.id}/roles`
  await act('PUT', path, { roles: ['manager'] })
  expect(them.sockets.map(({ closed }) => closed)).toEqual([undefined, undefined])
  await act('PUT', path, { roles: [] })
  await cutOff(them)
})

test('a closed account is out of every instance within a second', async () => {
  const them = await connected('closing')
  const { status, body } = await rest(here, 'DELETE', '/api/v1/users/me', {
    token: them.phone.token,
    body: { password: them.phone.password },
  })
  expect([status, body['deleted']]).toEqual([200, true])
  await cutOff(them)
})

test('a password in an address is refused, for addresses are logged', async () => {
  const { token, password } = await person(here, 'open')
  const path = `/api/v1/users/me?${new URLSearchParams({ password }).toString()}`
  const { status, body } = await rest(here, 'DELETE', path, { token })
  expect([status, body['errors']]).toEqual([
    422,
    [{ path: '/password', message: 'must be in the body' }],
  ])
  const { body: document } = await rest(here, 'GET', '/api-json')
  const { parameters, requestBody } = document['paths']['/users/me'].delete
  expect(JSON.stringify(parameters)).not.toContain('password')
  expect(JSON.stringify(requestBody)).toContain('password')
})

test('a server that starts with an administrator’s name and hash lets them in', async () => {
  const password = 'the password of the environment'
  const hash = await Bun.password.hash(password, {
    algorithm: 'argon2id',
    memoryCost: 19_456,
    timeCost: 2,
  })
  const env = { ADMIN_USERNAME: 'keeper', ADMIN_PASSWORD_HASH: hash }
  const server = await testServer({ database: here.database, env })
  try {
    const { status, body } = await rest(server, 'POST', '/api/v1/auth/login', {
      body: { username: 'keeper', password },
    })
    expect([status, body['user'].roles]).toEqual([200, ['user', 'admin']])
    const users = await rest(server, 'GET', '/api/v1/admin/users', { token: body['token'] })
    expect([users.status, users.body['code']]).toEqual([403, 'mfa_required'])
  } finally {
    await server.stop()
  }
})

test('a server does not start when its administrator’s name is a user’s', async () => {
  await rest(here, 'POST', '/api/v1/auth/register', {
    body: { email: 'a.name@example.org', username: 'taken-name', password: 'a long password' },
  })
  const hash = await Bun.password.hash('x', {
    algorithm: 'argon2id',
    memoryCost: 19_456,
    timeCost: 2,
  })
  const env = { ADMIN_USERNAME: 'Taken-Name', ADMIN_PASSWORD_HASH: hash }
  const refused = await testServer({ database: here.database, env }).catch(
    (error: unknown) => error,
  )
  expect(refused).toBeInstanceOf(ConfigError)
  expect((refused as Error).message).toContain('ADMIN_USERNAME names "Taken-Name"')
})
