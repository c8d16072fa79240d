import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { LIMITS } from '../../src/kernel/limits.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { administrator, type Body, type Person, person, rest } from '../support/people.ts'
import { type OwnPostgres, ownPostgres } from '../support/postgres.ts'
import { redisProgram, startRedis, type TestRedis } from '../support/redis.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** What security rests on goes on when something is away, and refuses when it cannot be asked. */

const ON = { RATE_LIMITS: 'on', RATE_LIMIT_MAX_REQUESTS: '100000', TRUSTED_PROXIES: '127.0.0.1' }
const { burst } = LIMITS.login_account
let hosts = 0

const logIn = (at: TestServer, login: string, password: string) =>
  rest(at, 'POST', '/api/v1/auth/login', {
    body: { login, password },
    // Each from elsewhere, so that only the account is counted.
    headers: { 'X-Forwarded-For': `203.0.113.${++hosts & 255}` },
  })

/** A key for `users:read`, and its id. */
async function serviceKey(server: TestServer, { token }: Person): Promise<[string, string]> {
  // The fresh second factor has tests of its own.
  server.stepUp.require = () => Promise.resolve()
  const body = { name: 'a service', scopes: ['users:read'] }
  const made = await rest(server, 'POST', KEYS, { token, body })
  return [made.body.key, made.body.api_key.id]
}
const KEYS = '/api/v1/admin/api-keys'

describe.each(['running', 'stopped', 'absent'])('with Redis %s', (state) => {
  const wanted = state !== 'absent'
  let redis: TestRedis | undefined
  let database: TestDatabase
  let here: TestServer
  let there: TestServer
  const skipped = wanted && redisProgram === null
  beforeAll(async () => {
    if (skipped) return
    redis = wanted ? await startRedis() : undefined
    database = await testDatabase()
    const env = { ...ON, ...(redis === undefined ? {} : { REDIS_URL: redis.url }) }
    here = await testServer({ database, env })
    there = await testServer({ database, env })
    if (state === 'stopped') await redis?.kill()
  })
  afterAll(async () => {
    if (skipped) return
    await there.stop()
    await here.stop()
    await database.drop()
    await redis?.remove()
  })

  test.skipIf(skipped)(
    'guesses at a password count on all instances together',
    async () => {
      const ada = await person(here, 'ada')
      const outcomes = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          logIn(i % 2 === 0 ? here : there, ada.email, 'a wrong password'),
        ),
      )
      const having = (status: number) => outcomes.filter((o) => o.status === status)
      expect([having(401).length, having(429).length]).toEqual([burst, 50 - burst])
      for (const { headers, body } of having(429)) {
        expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
        expect(headers.get('ratelimit-policy')).toBe('"login_account";q=10;w=3600')
        expect(headers.get('ratelimit')).toStartWith('"login_account";r=0;t=')
        expect(body.retry_after_ms).toBeGreaterThan(0)
      }
      expect((await logIn(there, ada.email, ada.password)).status).toBe(429)
    },
    30_000,
  )

  test.skipIf(skipped)('an ended API key is refused on all within a second', async () => {
    const admin = await administrator(here)
    const [key, id] = await serviceKey(here, admin)
    const headers = { 'X-API-Key': key }
    const ask = (at: TestServer) => rest(at, 'GET', '/api/v1/users', { headers })
    for (const at of [here, there]) expect((await ask(at)).status).toBe(200)
    await rest(here, 'DELETE', `${KEYS}/${id}`, { token: admin.token })
    const startMs = performance.now()
    for (const at of [here, there]) {
      await until(async () => (await ask(at)).status === 401, 'refused')
    }
    expect(performance.now() - startMs).toBeLessThan(1_500)
  })
})

describe('with the database away', () => {
  let postgres: OwnPostgres
  let server: TestServer
  let ada: Person
  let key: string
  beforeAll(async () => {
    postgres = await ownPostgres()
    server = await testServer({ database: await postgres.database(), env: ON })
    ada = await person(server, 'ada')
    ;[key] = await serviceKey(server, await administrator(server))
  }, 30_000)
  afterAll(async () => {
    await server.stop()
    await postgres.remove()
  })

  test('nobody signs in, registers or comes with a key; then all of them do', async () => {
    const attempts: (() => Promise<{ status: number; body: Body; headers: Headers }>)[] = [
      () => logIn(server, ada.email, ada.password),
      () => logIn(server, ada.email, 'a wrong password'),
      () =>
        rest(server, 'POST', '/api/v1/auth/register', {
          body: { email: 'new@example.org', password: 'a long password' },
        }),
      () => rest(server, 'GET', '/api/v1/users', { headers: { 'X-API-Key': key } }),
    ]
    const ask = () => Promise.all(attempts.map((attempt) => attempt()))
    const wanted = [200, 401, 201, 200]
    await postgres.end('SIGKILL')
    const away = await ask()
    expect(away.map(({ status, body }) => [status, body.code])).toEqual(
      wanted.map(() => [503, 'unavailable']),
    )
    for (const { headers } of away) expect(headers.get('retry-after')).toBe('1')
    await postgres.start()
    await until(async () => (await attempts[3]?.())?.status === 200, 'the key works again', 20_000)
    expect((await ask()).map(({ status }) => status)).toEqual(wanted)
  }, 60_000)
})
