import { Authenticator } from '../../src/auth/index.ts'
import { giveFactor } from './factor.ts'
import type { TestServer } from './server.ts'

/** A registered user with a fresh session. */
export interface Person {
  readonly id: string
  readonly email: string
  readonly password: string
  readonly token: string
  readonly refreshToken: string
}

let count = 0

/** Registers somebody over REST, as an app would. */
export async function person(server: Pick<TestServer, 'url'>, name = 'user'): Promise<Person> {
  const email = `${name}-${++count}-${process.pid}@example.org`
  const password = 'a password of the tests'
  const answer = await post(server, '/api/v1/auth/register', { email, password })
  return toPerson(answer, email, password)
}

/** Signs in again: another device. */
export async function device(server: Pick<TestServer, 'url'>, of: Person): Promise<Person> {
  const { email, password } = of
  return toPerson(await post(server, '/api/v1/auth/login', { email, password }), email, password)
}

/** An administrator whose session has shown a second factor; a fresh one: `restWithFactor`. */
export async function administrator(server: TestServer): Promise<Person> {
  const made = await person(server, 'admin')
  const { db, clock } = server.kernel
  await giveFactor(server.kernel, made.id)
  await db.sql`update users set roles = '{user,admin}' where id = ${made.id}`
  const [session] = await db.sql`
    update sessions set mfa_at = now() where user_id = ${made.id} returning id`
  const { token } = await server.kernel.use(Authenticator).issue({
    userId: made.id,
    sessionId: session.id as string,
    roles: ['user', 'admin'],
    sessionEndsMs: clock.now() + 3_600_000,
    mfa: true,
  })
  return { ...made, token }
}

interface Signed {
  token: string
  refresh_token: string
  user: { id: string }
}

function toPerson(answer: Signed, email: string, password: string): Person {
  const { token, refresh_token: refreshToken, user } = answer
  return { id: user.id, email, password, token, refreshToken }
}

async function post(server: Pick<TestServer, 'url'>, path: string, body: object): Promise<Signed> {
  const response = await fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
  return (await response.json()) as Signed
}

/** A JSON body; a test that reads a wrong field of it fails, which is what tests are for. */
// oxlint-disable-next-line no-explicit-any
export type Body = Record<string, any>

/** A REST call with a token. */
export async function rest(
  server: Pick<TestServer, 'url'>,
  method: string,
  path: string,
  options: { token?: string; body?: unknown; headers?: Record<string, string> } = {},
): Promise<{ status: number; body: Body; headers: Headers }> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      ...(options.token === undefined ? {} : { Authorization: `Bearer ${options.token}` }),
      ...(options.body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...options.headers,
    },
    ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
  })
  const text = await response.text()
  return {
    status: response.status,
    body: text === '' ? {} : (JSON.parse(text) as Body),
    headers: response.headers,
  }
}

/** Sends a message; whoever has written to somebody shows them their presence. */
export async function writes(
  server: Pick<TestServer, 'url'>,
  from: Pick<Person, 'token'>,
  to: Pick<Person, 'id'>,
): Promise<Body> {
  const { status, body } = await rest(server, 'POST', '/api/v1/messages', {
    token: from.token,
    body: { recipient_id: to.id, message_type: 'text' },
  })
  if (status !== 201) throw new Error(`not sent: ${status} ${JSON.stringify(body)}`)
  return body
}
