import { afterAll, describe, expect, test } from 'bun:test'
import { BODY_BYTES_MAX } from '../../src/http/body.ts'
import type { Problem } from '../../src/http/problem.ts'
import { Failure } from '../../src/kernel/errors.ts'
import type { Executor } from '../../src/kernel/execute.ts'
import { POOL_ID } from './sample-feature.ts'
import { ACTOR, startHttp, testHttp } from './support.ts'

const POOL = { id: POOL_ID, name: 'Duomo', state: 'open', parent: null }
const POSITIONS = `/api/v1/pools/${POOL_ID}/positions`

type Body = NonNullable<RequestInit['body']>

const problem = async (response: Response) => {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  return (await response.json()) as Problem
}
const echo = async (response: Response) => ((await response.json()) as { echo: unknown }).echo

// Most rules hold whatever came before, so one server with room for all requests serves them.
const app = startHttp({
  config: { rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 10_000 } },
})
afterAll(() => app[Symbol.asyncDispose]())

describe('every route of an operation is mounted at both prefixes', () => {
  test.each([
    `/api/v1/pools/${POOL_ID}`,
    `/api/pools/${POOL_ID}`,
    `/api/v1/pool/${POOL_ID}`,
    `/api/pool/${POOL_ID}`,
    `/api/v1/pools/${POOL_ID}/`,
    '/api/v1/pools/mine',
    '/api/v1/pools/mine/',
  ])('%s', async (path) => {
    const response = await app.get(path, { token: 'good' })
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual(POOL)
  })

  test('a HEAD is a GET without its body', async () => {
    for (const path of [`/api/v1/pools/${POOL_ID}`, '/api/v1/pools/mine/', '/health']) {
      const got = await app.get(path, { token: 'good' })
      const response = await app.get(path, { token: 'good', method: 'HEAD' })
      expect(response.status).toBe(200)
      expect(await response.text()).toBe('')
      expect(response.headers.get('content-length')).toBe(String((await got.text()).length))
    }
  })
})

describe('input', () => {
  test('of a GET is the path and the query, in the kinds of the schema', async () => {
    const query = '?limit=2&open=true&share=0.5&tag=a&tag=b&level=7&parent_id=3'
    const response = await app.get(`/api/v1/pools${query}`, { token: 'good' })
    expect(await echo(response)).toEqual({
      limit: 2,
      open: true,
      share: 0.5,
      tag: ['a', 'b'],
      level: [7],
      parent_id: 3,
    })
  })

  test.each([
    ['limit=x', '/limit'],
    ['limit=1.5', '/limit'],
    ['limit=0', '/limit'],
    ['limit=1&limit=2', '/limit'],
    ['unknown=1', '/unknown'],
    ['__proto__=1', '/__proto__'],
    ['tag=1&tag=2&tag=3&tag=4', '/tag'],
    ['cursor=a%00b', '/cursor'],
  ])('a query of %s is refused at %s', async (query, path) => {
    const response = await app.get(`/api/v1/pools?${query}`, { token: 'good' })
    expect(response.status).toBe(422)
    const { code, errors } = await problem(response)
    expect(code).toBe('validation_failed')
    expect(errors?.map((error) => error.path)).toContain(path)
  })

  test('of a POST is the path and the body; the path wins', async () => {
    const json = { amount: 5, pool_id: '0198c0de-7a11-7000-8000-00000000dead' }
    const response = await app.get(POSITIONS, { token: 'good', json })
    expect(response.status).toBe(201)
    expect(await echo(response)).toEqual({ amount: 5, pool_id: POOL_ID })
  })

  test('of a POST is not the query', async () => {
    const response = await app.get(`${POSITIONS}?amount=7`, { token: 'good', json: {} })
    expect(response.status).toBe(422)
  })

  test('of a DELETE is the path, the query and the body', async () => {
    const path = `/api/v1/pools/${POOL_ID}`
    const remove = (query: string, body: Record<string, unknown>) =>
      app.get(path + query, { token: 'admin', method: 'DELETE', ...body })
    const plain = await remove('?force=true', {})
    expect(plain.status).toBe(204)
    expect(plain.headers.has('content-type')).toBe(false)
    expect((await remove('', { json: { force: true } })).status).toBe(204)
    expect((await remove('', { json: { force: 'x' } })).status).toBe(422)
  })

  test('a missing body is an empty object', async () => {
    const put = await app.get('/api/v1/profile', { token: 'good', method: 'PUT' })
    expect(await echo(put)).toEqual({})
    const post = await app.get(POSITIONS, { token: 'good', method: 'POST' })
    expect(post.status).toBe(422)
  })

  test('names that reach for a prototype are unknown fields', async () => {
    for (const body of ['{"__proto__":{"amount":5}}', '{"amount":5,"constructor":1}']) {
      const headers = { 'content-type': 'application/json' }
      const init = { token: 'good', method: 'POST', headers, body }
      expect((await app.get(POSITIONS, init)).status).toBe(422)
    }
  })
})

describe('a body', () => {
  const post = (body: Body, headers: Record<string, string> = {}) =>
    app.get(POSITIONS, {
      token: 'good',
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...headers },
    })
  /** Sent in chunks, without a length. */
  const chunked = (...parts: string[]) =>
    new ReadableStream({
      async start(controller) {
        for (const part of parts) controller.enqueue(new TextEncoder().encode(part))
        controller.close()
      },
    })
  const long = (bytes: number) => {
    const empty = JSON.stringify({ amount: 5, note: '' })
    return JSON.stringify({ amount: 5, note: 'x'.repeat(bytes - empty.length) })
  }
  const deep = '['.repeat(400_000) + ']'.repeat(400_000)
  const bytes = (...values: number[]) => new Uint8Array(values)
  const quoted = (text: string) => new TextEncoder().encode(`{"amount":5,"note":"${text}"}`)

  test.each<[string, Body, Record<string, string>, number, string]>([
    ['not JSON', '{amount:5}', {}, 400, 'malformed_json'],
    ['cut short', '{"amount":', {}, 400, 'malformed_json'],
    ['blank', ' ', {}, 400, 'malformed_json'],
    ['not UTF-8', bytes(0x22, 0xff, 0x22), {}, 400, 'malformed_json'],
    ['very deep', '['.repeat(200_000), {}, 400, 'malformed_json'],
    ['very deep and whole', `{"note":${deep}}`, {}, 422, 'validation_failed'],
    ['very deep in an unknown field', `{"x":${deep}}`, {}, 422, 'validation_failed'],
    ['very deep with U+0000', `{"x":["\\u0000",${deep}]}`, {}, 422, 'validation_failed'],
    ['a list', '[]', {}, 422, 'validation_failed'],
    ['null', 'null', {}, 422, 'validation_failed'],
    ['a text', '"amount"', {}, 422, 'validation_failed'],
    ['a number', '5', {}, 422, 'validation_failed'],
    ['with U+0000', quoted('a\\u0000b'), {}, 422, 'validation_failed'],
    ['with U+0000 in a name', '{"amount":5,"n\\u0000":1}', {}, 422, 'validation_failed'],
    ['a form', 'amount=5', { 'content-type': 'application/x-www-form-urlencoded' }, 415, ''],
    ['text/plain', '{"amount":5}', { 'content-type': 'text/plain' }, 415, ''],
    ['almost JSON', '{"amount":5}', { 'content-type': 'application/json5' }, 415, ''],
    ['no type', bytes(0x7b, 0x7d), { 'content-type': '' }, 415, ''],
    ['latin1', '{}', { 'content-type': 'application/json; charset=latin1' }, 415, ''],
    ['compressed', Bun.gzipSync('{}'), { 'content-encoding': 'gzip' }, 415, ''],
    ['too long by one', long(BODY_BYTES_MAX + 1), {}, 413, 'too_large'],
    ['too long in chunks', chunked(long(BODY_BYTES_MAX), ' '), {}, 413, 'too_large'],
  ])('%s', async (_, body, headers, status, code) => {
    const response = await post(body, headers)
    expect(response.status).toBe(status)
    expect((await problem(response)).code).toBe((code || 'unsupported_media_type') as 'internal')
  })

  test.each<[string, Body, Record<string, string>]>([
    ['with a charset', '{"amount":5}', { 'content-type': 'Application/JSON; Charset="UTF-8"' }],
    ['in chunks', chunked('{"amo', 'unt":5}'), {}],
    ['with a byte order mark', '\ufeff{"amount":5}', {}],
    ['uncompressed, and saying so', '{"amount":5}', { 'content-encoding': 'identity' }],
    ['the text \\u0000, not the character', quoted('\\\\u0000'), {}],
    ['as long as allowed', long(BODY_BYTES_MAX), {}],
    ['as long as allowed in chunks', chunked(long(BODY_BYTES_MAX)), {}],
  ])('is taken %s', async (_, body, headers) => {
    expect((await post(body, headers)).status).toBe(201)
  })

  test('the place of U+0000 is told', async () => {
    const response = await post('{"amount":5,"note":{"a/b":["\\u0000"]}}')
    expect((await problem(response)).errors?.[0]?.path).toBe('/note/a~1b/0')
  })

  test('of a stranger is not read', async () => {
    const response = await app.get(POSITIONS, { method: 'POST', body: 'x', headers: {} })
    expect(response.status).toBe(401)
  })
})

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

describe('addresses', () => {
  test.each([
    ['PATCH', '/api/v1/pools', 'GET, HEAD, OPTIONS'],
    // As a DELETE it would be one of `/pools/:id`.
    ['POST', '/api/v1/pools/mine', 'DELETE, GET, HEAD, OPTIONS'],
    ['PUT', `/api/v1/pools/${POOL_ID}`, 'DELETE, GET, HEAD, OPTIONS'],
    ['GET', '/api/v1/auth/login', 'POST, OPTIONS'],
    ['GET', '/api/auth/login/', 'POST, OPTIONS'],
    ['PATCH', '/health', 'GET, HEAD, OPTIONS'],
    ['POST', '/api', 'GET, HEAD, OPTIONS'],
  ])('%s %s: 405', async (method, path, allow) => {
    const response = await app.get(path, { method, token: 'good' })
    expect(response.status).toBe(405)
    expect(response.headers.get('allow')).toBe(allow)
    expect((await problem(response)).code).toBe('method_not_allowed')
  })

  test.each([
    '/nowhere',
    '/api/v1',
    '/api/v1/nowhere',
    '/api/v1/pools/mine/more',
    '/api/v1//pools/mine',
    '/api/v1/pools/mine//',
    '/API/v1/pools/mine',
    '/api/v2/pools/mine',
    '/health/live',
    '/%2e%2e/etc/passwd',
  ])('%s: 404', async (path) => {
    const response = await app.get(path, { token: 'good' })
    expect(response.status).toBe(404)
    expect((await problem(response)).code).toBe('not_found')
  })

  test.each(['%ZZ', '%', '%ff', 'a%2Fb', '%00', `${POOL_ID}%00`, 'x'.repeat(4_000)])(
    'a path parameter %s is invalid input',
    async (text) => {
      expect((await app.get(`/api/v1/pools/${text}`, { token: 'good' })).status).toBe(422)
    },
  )

  test('a percent-encoded path parameter is decoded', async () => {
    const encoded = POOL_ID.replaceAll('-', '%2D')
    for (const slash of ['', '/']) {
      const response = await app.get(`/api/v1/pools/${encoded}${slash}`, { token: 'good' })
      expect(response.status).toBe(200)
    }
  })
})

describe('a refusal is a problem of RFC 9457', () => {
  const fail = (how: string) => app.get('/api/v1/fail', { token: 'good', json: { how } })

  test('with its code, request id and invalid fields', async () => {
    const response = await app.get(POSITIONS, { token: 'good', json: { amount: 0, no: 1 } })
    const body = await problem(response)
    expect(body).toMatchObject({
      type: 'urn:rialto:problem:validation_failed',
      title: 'Invalid input',
      status: 422,
      code: 'validation_failed',
      detail: 'Invalid input of positions.create',
      retryable: false,
      request_id: response.headers.get('x-request-id'),
    })
    expect(body.errors?.map(({ path }) => path).toSorted()).toEqual(['/amount', '/no'])
  })

  test.each([
    ['unavailable', 503, '3'],
    ['request_in_progress', 409, '3'],
    ['conflict', 409, null],
  ])('%s: %i with Retry-After %p', async (how, status, retryAfter) => {
    const response = await fail(how)
    expect(response.status).toBe(status)
    expect(response.headers.get('retry-after')).toBe(retryAfter)
    expect((await problem(response)).retry_after_ms).toBe(2_500)
  })

  test.each(['bug', 'late_bug'])('a %s is logged and not shown', async (how) => {
    const response = await fail(how)
    expect(response.status).toBe(500)
    const text = await response.text()
    expect(text).not.toContain('secret')
    const { request_id } = JSON.parse(text) as Problem
    const logged = app.log().filter((entry) => entry.request_id === request_id)
    expect(logged.map(({ message }) => message)).toEqual(['operation failed', 'request failed'])
    expect(JSON.stringify(logged[0])).toContain('secret text of a')
  })

  test('an answer that cannot be serialised is such a bug', async () => {
    const response = await app.get('/api/v1/unserialisable', { token: 'good' })
    expect(response.status).toBe(500)
    expect((await problem(response)).code).toBe('internal')
  })
})

describe('request ids', () => {
  const answered = async (path: string, id: string) => {
    const response = await app.get(path, { token: 'good', headers: { 'x-request-id': id } })
    return response.headers.get('x-request-id')
  }

  test('a sane one is kept, in answers and for the operation', async () => {
    const headers = { 'x-request-id': 'a.B_c-1' }
    const response = await app.get('/api/v1/about', { headers })
    expect(response.headers.get('x-request-id')).toBe('a.B_c-1')
    expect(await response.json()).toMatchObject({ request_id: 'a.B_c-1' })
    expect(await answered('/api/v1/nowhere', 'x'.repeat(64))).toBe('x'.repeat(64))
  })

  test.each(['x'.repeat(65), 'a b', 'a\u00e4', '<script>', 'a,b'])(
    '%p is replaced where one is needed',
    async (id) => {
      expect(await answered('/api/v1/nowhere', id)).toMatch(/^[0-9a-f-]{36}$/)
      expect(await answered('/api/v1/pools/mine', id)).toBeNull()
    },
  )
})

describe('idempotency keys', () => {
  /** Says what it was called with; the third time, that it has answered before. */
  function recorder() {
    const keys: (string | undefined)[] = []
    const executor: Executor = {
      execute(_, { key }) {
        keys.push(key)
        return { output: { paid: 1 }, replayed: keys.length === 3 }
      },
      idle: () => Promise.resolve(),
    }
    return { keys, executor }
  }

  test('reach the executor, and a replayed answer says so', async () => {
    const { keys, executor } = recorder()
    await using server = startHttp({ executor })
    const replayed: (string | null)[] = []
    for (const key of [undefined, 'k 1', 'k 1']) {
      const headers = new Headers(key === undefined ? {} : { 'idempotency-key': key })
      const response = await server.get('/api/v1/pay', { token: 'good', json: {}, headers })
      expect(response.status).toBe(201)
      replayed.push(response.headers.get('idempotent-replayed'))
    }
    expect(keys).toEqual([undefined, 'k 1', 'k 1'])
    expect(replayed).toEqual([null, null, 'true'])
  })

  test('too long a key is invalid input', async () => {
    const headers = { 'idempotency-key': 'k'.repeat(256) }
    const json = { amount: 1 }
    const response = await app.get('/api/v1/pay', { token: 'good', json, headers })
    expect(response.status).toBe(422)
    expect((await problem(response)).errors?.[0]?.path).toBe('/key')
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

describe('what is recorded', () => {
  test('a histogram by method, route template and status', async () => {
    await using server = startHttp()
    await server.get(`/api/pools/${POOL_ID}`, { token: 'good' })
    await server.get(`/api/v1/pools/${POOL_ID}/`, { token: 'good' })
    await server.get('/api/v1/pools/x', { token: 'good' })
    await server.get('/secret/path')
    const text = server.metrics.render()
    const count = (labels: string) =>
      new RegExp(`http_request_duration_seconds_count{${labels}} (\\d+)`).exec(text)?.[1]
    expect(count('method="GET",route="/api/v1/pools/:id",status="200"')).toBe('2')
    expect(count('method="GET",route="/api/v1/pools/:id",status="422"')).toBe('1')
    expect(count('method="any",route="none",status="404"')).toBe('1')
    expect(text).not.toContain('secret')
  })

  test('at level debug one line a request, without its query', async () => {
    await using server = startHttp({ logLevel: 'debug' })
    await server.get(`/api/v1/pools/${POOL_ID}?token=secret`, { token: 'good' })
    expect(server.log()).toEqual([
      expect.objectContaining({
        level: 'debug',
        message: 'request',
        method: 'GET',
        route: '/api/v1/pools/:id',
        status: 422,
        address: '127.0.0.1',
      }),
    ])
    expect(JSON.stringify(server.log())).not.toContain('secret')
  })

  test('at level info nothing of what went as it should', async () => {
    await using server = startHttp()
    await server.get(`/api/v1/pools/${POOL_ID}`, { token: 'good' })
    await server.get('/api/v1/pools/x', { token: 'good' })
    expect(server.log()).toEqual([])
  })
})

describe('the two routers', () => {
  const listener = { requestIP: () => ({ address: '127.0.0.1' }) }
  const request = (path: string) =>
    new Request(`http://rialto.example${path}`, { headers: { authorization: 'Bearer good' } })

  test('answer alike', async () => {
    const { http, metrics } = testHttp()
    const native = Bun.serve({ port: 0, hostname: '127.0.0.1', ...http })
    const elysia = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: http.fetch })
    for (const path of [
      '/api/v1/pools/mine',
      `/api/pools/${POOL_ID}`,
      '/api/v1/pools/%ZZ',
      '/api/v1/pools?limit=1&tag=a',
      '/api/v1/pools?limit=0',
      '/api/v1/unserialisable',
    ]) {
      const [one, other] = await Promise.all(
        [native, elysia].map(async ({ port }) => {
          const headers = { authorization: 'Bearer good', 'x-request-id': 'same' }
          const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers })
          return [response.status, [...response.headers], await response.json()]
        }),
      )
      expect(one).toEqual(other as typeof one)
    }
    metrics.stop()
    await Promise.all([native.stop(true), elysia.stop(true)])
  })

  test('cost no promise where the operation needs none', () => {
    const { http, metrics } = testHttp()
    expect(http.fetch(request('/api/v1/pools/mine'), listener)).toBeInstanceOf(Response)
    expect(http.fetch(request(`/api/v1/pools/${POOL_ID}`), listener)).toBeInstanceOf(Response)
    expect(http.fetch(request('/api/v1/pools'), listener)).toBeInstanceOf(Promise)
    metrics.stop()
  })

  test('find the path whatever the host is called', async () => {
    const { http, metrics } = testHttp()
    for (const host of ['http://a', 'http://a.b', 'http://a.b:1', 'http://rialto.example']) {
      const asked = new Request(`${host}/api/v1/pools/mine`, request('/'))
      expect([host, (await http.fetch(asked, listener)).status]).toEqual([host, 200])
    }
    metrics.stop()
  })
})

test('a failure outside every route is a problem too', async () => {
  const { http, metrics } = testHttp({
    config: { production: true, trustedProxies: ['10.0.0.0/8'] },
  })
  const listener = {
    requestIP: () => {
      throw new Failure('unavailable')
    },
  }
  const response = await http.fetch(new Request('http://rialto.example/'), listener)
  expect(response.status).toBe(503)
  metrics.stop()
})
