import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { resealAll } from '../../jobs/reseal.ts'
import { Authenticator } from '../../src/auth/index.ts'
import { createAccessTokens } from '../../src/auth/sessions/tokens.ts'
import { testClock } from '../../src/base/clock.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { giveFactor } from '../support/factor.ts'
import { restWithFactor } from '../support/mfa.ts'
import { administrator, type Body, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

/** The procedures of docs/security-keys.md, step by step, with two instances. */

const OLD = 'the old secret of the tests of 32 bytes or more'
const FRESH = 'the new secret of the tests of 32 bytes or more'
/** Each step for one instance after the other; the last one when the old tokens have ended. */
const STEPS = [[OLD], [OLD, FRESH], [FRESH, OLD], [FRESH]] as const

describe('JWT_SECRET', () => {
  const TTL_MS = 15 * 60_000
  const subject = {
    userId: '01900000-0000-7000-8000-000000000001',
    sessionId: '01900000-0000-7000-8000-000000000002',
    roles: ['user'] as const,
    sessionEndsMs: Date.UTC(2030, 0, 1),
  }

  /** Rolls two instances through `steps` and counts the valid tokens that one of them refuses. */
  async function roll(steps: readonly (readonly string[])[]) {
    const clock = testClock(Date.UTC(2026, 0, 1))
    const make = (secrets: readonly string[]) =>
      createAccessTokens({ secrets, accessTtlMs: TTL_MS, clock })
    const instances = [make(steps[0]!), make(steps[0]!)]
    const living: { token: string; expiresAtMs: number }[] = []
    let [checked, refused] = [0, 0]
    const minutes = async (count: number) => {
      for (let minute = 0; minute < count; minute++) {
        for (const instance of instances) living.push(await instance.sign(subject))
        clock.advance(60_000)
        for (const { token, expiresAtMs } of living) {
          if (expiresAtMs <= clock.now()) continue
          for (const instance of instances) {
            checked++
            try {
              instance.verify(token)
            } catch {
              refused++
            }
          }
        }
      }
    }
    for (const secrets of steps) {
      for (const n of [0, 1]) {
        instances[n] = make(secrets)
        await minutes(2)
      }
      await minutes(16)
    }
    return { checked, refused }
  }

  test('key added everywhere, then first, then alone: no valid token is refused', async () => {
    const { checked, refused } = await roll(STEPS)
    expect(checked).toBeGreaterThan(2_000)
    expect(refused).toBe(0)
  })

  test('the control: in one step, tokens of the one are refused by the other', async () => {
    expect((await roll([[OLD], [FRESH]])).refused).toBeGreaterThan(0)
    expect((await roll([[OLD], [FRESH, OLD], [FRESH]])).refused).toBeGreaterThan(0)
  })
})

const hex = (byte: string) => byte.repeat(32)
const MASTERS = [[hex('aa')], [hex('aa'), hex('bb')], [hex('bb'), hex('aa')], [hex('bb')]] as const

describe('both keys of two running servers', () => {
  let database: TestDatabase
  let servers: TestServer[] = []
  let admin: Person
  let someone: Person
  beforeAll(async () => {
    database = await testDatabase()
  })
  afterAll(async () => {
    for (const server of servers) await server.stop()
    await database.drop()
  })
  const start = (step: number) =>
    testServer({
      database,
      env: {
        JWT_SECRET: STEPS[step]!.join(','),
        MASTER_ENCRYPTION_KEY: MASTERS[step]!.join(','),
      },
    })

  /** What a person and an administrator do all the time; with one instance and then the other. */
  async function everythingWorks() {
    for (const [n, server] of servers.entries()) {
      const [first, second] = [server, servers[1 - n] ?? server]
      const me = (at: TestServer) => rest(at, 'GET', '/api/v1/users/me', { token: someone.token })
      expect((await me(first)).status).toBe(200)
      expect((await me(second)).status).toBe(200)
      // A lost answer: the same refresh token again, on the other instance.
      const body = { refresh_token: someone.refreshToken }
      const fresh = await rest(first, 'POST', '/api/v1/auth/refresh', { body })
      const again = await rest(second, 'POST', '/api/v1/auth/refresh', { body })
      expect([fresh.status, again.status]).toEqual([200, 200])
      expect(again.body['refresh_token']).toBe(fresh.body['refresh_token'])
      someone = {
        ...someone,
        token: fresh.body['token'] as string,
        refreshToken: fresh.body['refresh_token'] as string,
      }
      // A repeated request.
      const options = {
        token: someone.token,
        headers: { 'Idempotency-Key': `${n}-${someone.token.slice(-20)}` },
        body: { recipient_id: admin.id, message_type: 'text' },
      }
      const sent = await rest(first, 'POST', '/api/v1/messages', options)
      const replayed = await rest(second, 'POST', '/api/v1/messages', options)
      expect([sent.status, replayed.body['id']]).toEqual([201, sent.body['id']])
      // A second factor, which lies sealed, and a secret that is sealed now.
      const url = 'https://hooks.example.org/'
      const hook = await asAdmin(first, 'POST', '', { url })
      const { id } = hook['webhook']
      await asAdmin(second, 'POST', `/${id}/rotate-secret`, {})
    }
  }
  async function asAdmin(at: TestServer, method: string, path: string, body: object) {
    const options = { as: admin, body }
    const answer = await restWithFactor(at, method, `/api/v1/webhooks${path}`, options)
    expect(answer.body['detail']).toBeUndefined()
    return answer.body as Body
  }

  test('are changed without anybody noticing', async () => {
    servers = [await start(0), await start(0)]
    admin = await administrator(servers[0]!)
    await giveFactor(servers[0]!.kernel, admin.id)
    someone = await person(servers[0]!)
    await everythingWorks()
    for (const step of [1, 2]) {
      for (const n of [0, 1]) {
        const replaced = servers[n]!
        servers[n] = await start(step)
        await replaced.stop()
        await everythingWorks()
      }
    }
    const results = await resealAll(servers[0]!.kernel)
    expect(results.filter(({ unreadable, held }) => unreadable + held > 0)).toEqual([])
    expect(results.filter(({ resealed }) => resealed > 0).length).toBeGreaterThan(2)
    await everythingWorks()
    // The tokens of the old key have ended by now, as in 15 minutes they would.
    admin = await again(admin)
    for (const n of [0, 1]) {
      const replaced = servers[n]!
      servers[n] = await start(3)
      await replaced.stop()
      await everythingWorks()
    }
    await resealAll(servers[0]!.kernel)
    await everythingWorks()
  }, 120_000)

  /** A new token for an administrator, from a server that signs with the new key. */
  async function again(who: Person): Promise<Person> {
    const server = servers[0]!
    const [session] = await server.kernel.db.sql`
      select id from sessions where user_id = ${who.id} order by created_at limit 1`
    const { token } = await server.kernel.use(Authenticator).issue({
      userId: who.id,
      sessionId: session.id as string,
      roles: ['user', 'admin'],
      sessionEndsMs: server.kernel.clock.now() + 3_600_000,
      mfa: true,
    })
    return { ...who, token }
  }
})
