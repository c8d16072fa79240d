import { afterAll, describe, expect, test } from 'bun:test'
import type { Problem } from '../../src/http/problem.ts'
import { POOL_ID } from './sample-feature.ts'
import { ACTOR, startHttp } from './support.ts'

const problem = async (response: Response) => {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  return (await response.json()) as Problem
}

// Most rules hold whatever came before, so one server with room for all requests serves them.
const app = startHttp({
  config: { rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 10_000 } },
})
afterAll(() => app[Symbol.asyncDispose]())

describe('who asks', () => {
  const ask = (authorization: string | undefined, path = '/api/v1/pools/mine') =>
    app.get(path, authorization === undefined ? {} : { headers: { authorization } })

  test.each([
    [undefined, 'unauthenticated', 'Bearer realm="rialto"'],
    ['Bearer bad', 'unauthenticated', 'Bearer realm="rialto", error="invalid_token"'],
    ['Bearer old', 'token_expired', 'Bearer realm="rialto", error="invalid_token"'],
    ['Bearer', 'unauthenticated', 'Bearer realm="rialto", error="invalid_token"'],
    ['Bearergood', 'unauthenticated', 'Bearer realm="rialto", error="invalid_token"'],
    ['good', 'unauthenticated', 'Bearer realm="rialto", error="invalid_token"'],
    ['Basic Z29vZDpnb29k', 'unauthenticated', 'Bearer realm="rialto", error="invalid_token"'],
  ])('%p is refused', async (authorization, code, challenge) => {
    const response = await ask(authorization)
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toBe(challenge)
    expect((await problem(response)).code).toBe(code as 'internal')
  })

  test.each(['Bearer good', 'bearer good', 'BEARER   good'])('%p is taken', async (header) => {
    expect((await ask(header)).status).toBe(200)
  })

  test('two headers are one bad token', async () => {
    const headers = new Headers([
      ['authorization', 'Bearer good'],
      ['authorization', 'Bearer good'],
    ])
    expect((await app.get('/api/v1/pools/mine', { headers })).status).toBe(401)
  })

  test('a role is asked for where it is needed', async () => {
    const path = `/api/v1/pools/${POOL_ID}`
    expect((await app.get(path, { token: 'good', method: 'DELETE' })).status).toBe(403)
    expect((await app.get(path, { token: 'admin', method: 'DELETE' })).status).toBe(204)
  })

  test('where anyone may ask, a bad token is as none and a good one counts', async () => {
    const json = { email: 'ada@example.org', password: 'long enough' }
    const user = async (token?: string) => {
      const response = await app.get('/api/v1/auth/login', token ? { json, token } : { json })
      return ((await response.json()) as { user: string | null }).user
    }
    expect(await user()).toBeNull()
    expect(await user('old')).toBeNull()
    expect(await user('good')).toBe(ACTOR.userId)
  })

  test('a bug of the verifier is an error, even where anyone may ask', async () => {
    for (const path of ['/api/v1/about', '/api/v1/pools/mine']) {
      const response = await app.get(path, { token: 'broken' })
      expect(response.status).toBe(500)
      expect(await response.text()).not.toContain('the verifier has a bug')
    }
  })
})

describe('limits', () => {
  test('of those who are not signed in: per address, whatever they ask', async () => {
    await using server = startHttp({
      config: { rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 4 } },
    })
    const login = { json: { email: 'ada@example.org', password: 'wrong password' } }
    const asked: [string, Parameters<typeof server.get>[1], number][] = [
      ['/api/v1/about', {}, 200],
      ['/api/v1/auth/login', login, 401],
      ['/api/v1/pools/mine', { token: 'old' }, 401],
      ['/api/v1/nowhere', {}, 404],
      ['/api/v1/about', {}, 429],
      ['/api/v1/auth/login', login, 429],
      ['/api/v1/pools/mine', { token: 'old' }, 429],
      ['/api/v1/nowhere', {}, 429],
    ]
    for (const [i, [path, init, status]] of asked.entries()) {
      const response = await server.get(path, init)
      expect([path, response.status]).toEqual([path, status])
      expect(response.headers.get('ratelimit-policy')).toBe('"address";q=4;w=900')
      expect(response.headers.get('ratelimit')).toBe(`"address";r=${Math.max(0, 3 - i)};t=900`)
      expect(response.headers.get('retry-after')).toBe(status === 429 ? '900' : null)
    }
    // Neither the signed-in nor those who only look after the server's health are counted.
    expect((await server.get('/api/v1/pools/mine', { token: 'good' })).status).toBe(200)
    expect((await server.get('/health')).status).toBe(200)
    expect((await server.get('/api')).status).toBe(200)
    expect((await server.get('/api/v1/about', { method: 'OPTIONS' })).status).toBe(204)
    server.clock.advance(900_000)
    expect((await server.get('/api/v1/about')).status).toBe(200)
  })

  test('a token of one’s own gives no more guesses at a password', async () => {
    await using server = startHttp({
      config: { rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 2 } },
    })
    const guess = { token: 'good', json: { email: 'ada@example.org', password: 'wrong password' } }
    const statuses = []
    for (let i = 0; i < 3; i++) {
      statuses.push((await server.get('/api/v1/auth/login', guess)).status)
    }
    expect(statuses).toEqual([401, 401, 429])
    expect((await server.get('/api/v1/about', { token: 'good' })).status).toBe(200)
  })

  test('of an operation: the refusal says which, and when to come back', async () => {
    await using server = startHttp()
    let response = await server.get('/api/v1/profile', { token: 'good', method: 'PUT' })
    for (let i = 0; response.status === 200; i++) {
      expect(i).toBeLessThan(60)
      response = await server.get('/api/v1/profile', { token: 'good', method: 'PUT' })
    }
    expect(response.status).toBe(429)
    expect(response.headers.get('retry-after')).toBe('1')
    expect(response.headers.get('ratelimit-policy')).toBe('"write";q=60;w=6')
    expect(response.headers.get('ratelimit')).toBe('"write";r=0;t=1')
  })

  test('when off, nobody is counted', async () => {
    await using server = startHttp({
      config: { rateLimits: { enabled: false, windowMs: 900_000, maxRequests: 1 } },
    })
    for (let i = 0; i < 3; i++) {
      const response = await server.get('/api/v1/about')
      expect(response.status).toBe(200)
      expect(response.headers.has('ratelimit')).toBe(false)
    }
  })
})

describe('behind a trusted proxy', () => {
  const login = (address: string) => ({
    json: { email: 'ada@example.org', password: 'long enough' },
    headers: { 'x-forwarded-for': address },
  })
  const address = async (trusted: string[]) => {
    await using server = startHttp({ config: { trustedProxies: trusted } })
    const response = await server.get('/api/v1/auth/login', login('9.9.9.9, 203.0.113.9'))
    return ((await response.json()) as { address: string }).address
  }

  test('operations see the client, and without one the header changes nothing', async () => {
    expect(await address(['127.0.0.0/8'])).toBe('203.0.113.9')
    expect(await address([])).toBe('127.0.0.1')
  })

  test('each client has its own quota; a forged header buys none', async () => {
    const statuses = async (trustedProxies: string[]) => {
      await using server = startHttp({
        config: {
          trustedProxies,
          rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 1 },
        },
      })
      const got = []
      for (const from of ['203.0.113.1', '203.0.113.2']) {
        got.push((await server.get('/api/v1/auth/login', login(from))).status)
      }
      return got
    }
    expect(await statuses(['127.0.0.1'])).toEqual([200, 200])
    expect(await statuses([])).toEqual([200, 429])
  })
})
