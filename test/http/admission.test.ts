import { afterAll, describe, expect, test } from 'bun:test'
import type { Problem } from '../../src/http/problem.ts'
import { LIMITS } from '../../src/kernel/limits.ts'
import { POOL_ID } from './sample-feature.ts'
import { ACTOR, sendRaw, SERVICE, startHttp } from './support.ts'

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

describe('a service', () => {
  const path = '/api/v1/services/hello'
  interface Init {
    method?: string
    body?: string
    headers?: Record<string, string>
  }
  const ask = (key: string, at = path, init: Init = {}) =>
    app.get(at, { ...init, headers: { ...init.headers, 'x-api-key': key } })

  test.each(['key', 'slow'])('with the key %p is known, at once or a moment later', async (key) => {
    const response = await ask(key)
    expect([response.status, await response.json()]).toEqual([200, { name: SERVICE.name }])
    const body = { method: 'POST', body: '{"text":"x"}' }
    const json = { 'content-type': 'application/json' }
    expect((await ask(key, path, { ...body, headers: json })).status).toBe(200)
    // What is wrong with the body is said as to anybody.
    expect((await ask(key, path, { ...body, headers: {} })).status).toBe(415)
    const broken = await ask(key, path, { method: 'POST', body: '{', headers: json })
    expect((await problem(broken)).code).toBe('malformed_json')
  })

  test('is refused with what is no key', async () => {
    const response = await ask('bad')
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toBe('Bearer realm="rialto"')
    expect((await problem(response)).code).toBe('unauthenticated')
  })

  test('does not enter where people do, nor people where services do', async () => {
    for (const key of ['key', 'slow']) {
      const refused = await ask(key, '/api/v1/pools/mine')
      expect([refused.status, (await problem(refused)).detail]).toEqual([
        403,
        'Not for API keys: sign in as a user',
      ])
    }
    const person = await app.get(path, { token: 'good' })
    expect((await problem(person)).detail).toBe('Only for services with an API key')
  })

  test('is told which scope its key lacks', async () => {
    const refused = await ask('key', '/api/v1/services/audit')
    expect(refused.status).toBe(403)
    expect((await problem(refused)).detail).toBe('The API key lacks the scope audit:read')
  })

  test('with a token as well is refused, whichever is good', async () => {
    for (const [key, token] of [
      ['key', 'good'],
      ['bad', 'good'],
      ['slow', 'bad'],
    ]) {
      const headers = { authorization: `Bearer ${token}` }
      for (const at of [path, '/api/v1/about', '/api/v1/pools/mine']) {
        const refused = await ask(key as string, at, { headers })
        expect([at, refused.status, (await problem(refused)).code]).toEqual([
          at,
          400,
          'bad_request',
        ])
      }
    }
  })

  test('is served as anybody where anyone may ask, also with a bad key', async () => {
    for (const key of ['key', 'slow', 'bad']) {
      expect((await ask(key, '/api/v1/about')).status).toBe(200)
    }
  })

  test('is refused while keys cannot be looked up, and a bug is an error', async () => {
    const later = await ask('later')
    expect([later.status, later.headers.get('retry-after')]).toEqual([503, '1'])
    for (const at of [path, '/api/v1/about', '/api/v1/nowhere']) {
      const response = await ask('broken', at)
      expect(response.status).toBe(500)
      expect(await response.text()).not.toContain('the lookup has a bug')
    }
  })

  test('at an address that is none is told so', async () => {
    for (const key of ['key', 'slow', 'bad']) {
      expect((await ask(key, '/api/v1/nowhere')).status).toBe(404)
    }
  })

  test('has rates of its own; what is no key is counted by address', async () => {
    await using server = startHttp({
      config: { rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 2 } },
    })
    const get = async (key: string) =>
      (await server.get(path, { headers: { 'x-api-key': key } })).status
    expect([await get('bad'), await get('bad'), await get('bad')]).toEqual([401, 401, 429])
    // The address has used up what strangers have; its services are none.
    const statuses = new Set<number>()
    for (let i = 0; i < LIMITS.read.burst; i++) statuses.add(await get('key'))
    expect([...statuses]).toEqual([200])
    const refused = await server.get(path, { headers: { 'x-api-key': 'slow' } })
    expect([refused.status, refused.headers.get('ratelimit-policy')]).toEqual([
      429,
      '"read";q=200;w=4',
    ])
    expect((await server.get('/api/v1/pools/mine', { token: 'good' })).status).toBe(200)
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

  test('of an operation that is open to anyone: an IPv6 network is one', async () => {
    await using server = startHttp({
      config: {
        trustedProxies: ['127.0.0.1'],
        rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 1_000 },
      },
    })
    const ask = (n: number) =>
      server.get('/api/v1/about', { headers: { 'x-forwarded-for': `2001:db8::${n}` } })
    for (let n = 0; n < LIMITS.read.burst; n++) expect((await ask(n)).status).toBe(200)
    const refused = await ask(9999)
    expect([refused.status, refused.headers.get('ratelimit')]).toEqual([429, '"read";r=0;t=1'])
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

  test.each([
    ['with what the client has put before it', '9.9.9.9, 203.0.113.1', '8.8.8.8, 203.0.113.1'],
    ['with ports', '203.0.113.1:1111', '203.0.113.1:2222'],
    ['as IPv6', '203.0.113.1', '::ffff:203.0.113.1'],
    ['in brackets', '[2001:db8::1]:443', '2001:DB8:0:0::1'],
    ['out of one network', '2001:db8::1', '2001:db8::2'],
    ['behind another trusted proxy', '203.0.113.1', '203.0.113.1, 127.0.0.2'],
  ])('a client written %s is one', async (_how, one, other) => {
    await using server = startHttp({
      config: {
        trustedProxies: ['127.0.0.0/8'],
        rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 1 },
      },
    })
    expect((await server.get('/api/v1/auth/login', login(one))).status).toBe(200)
    expect((await server.get('/api/v1/auth/login', login(other))).status).toBe(429)
    // The control: somebody else is not.
    expect((await server.get('/api/v1/auth/login', login('203.0.113.77'))).status).toBe(200)
  })

  test('of several headers the last one counts, as of one', async () => {
    await using server = startHttp({
      config: {
        trustedProxies: ['127.0.0.1'],
        rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 1 },
      },
    })
    const ask = async (forged: string) => {
      const body = '{"email":"ada@example.org","password":"long enough"}'
      const answer = await sendRaw(
        server.port,
        `POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${body.length}\r\nX-Forwarded-For: ${forged}\r\n` +
          `X-Forwarded-For: 203.0.113.1\r\nConnection: close\r\n\r\n${body}`,
      )
      return answer.split(' ')[1]
    }
    expect([await ask('9.9.9.9'), await ask('8.8.8.8')]).toEqual(['200', '429'])
  })
})
