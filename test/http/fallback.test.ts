import { afterAll, describe, expect, test } from 'bun:test'
import type { Problem } from '../../src/http/problem.ts'
import { POOL_ID } from './sample-feature.ts'
import { startHttp } from './support.ts'

const problem = async (response: Response) => {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  return (await response.json()) as Problem
}

// Most rules hold whatever came before, so one server with room for all requests serves them.
const app = startHttp({
  config: { rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 10_000 } },
})
afterAll(() => app[Symbol.asyncDispose]())

describe('addresses', () => {
  test.each([
    ['PATCH', '/api/v1/pools', 'GET, HEAD, OPTIONS'],
    // A literal path is no `/pools/:id`, neither in Elysia's router nor in Bun's.
    ['POST', '/api/v1/pools/mine', 'GET, HEAD, OPTIONS'],
    ['DELETE', '/api/v1/pools/mine', 'GET, HEAD, OPTIONS'],
    ['DELETE', '/api/v1/pools/mine/', 'GET, HEAD, OPTIONS'],
    ['GET', '/api/v1/pools/import', 'POST, OPTIONS'],
    ['GET', '/api/v1/pools/import/', 'POST, OPTIONS'],
    ['HEAD', '/api/v1/pools/import', 'POST, OPTIONS'],
    ['PUT', `/api/v1/pools/${POOL_ID}`, 'DELETE, GET, HEAD, OPTIONS'],
    ['GET', '/api/v1/auth/login', 'POST, OPTIONS'],
    ['GET', '/api/auth/login/', 'POST, OPTIONS'],
    ['PATCH', '/health', 'GET, HEAD, OPTIONS'],
    ['POST', '/api', 'GET, HEAD, OPTIONS'],
  ])('%s %s: 405', async (method, path, allow) => {
    const response = await app.get(path, { method, token: 'good' })
    expect(response.status).toBe(405)
    expect(response.headers.get('allow')).toBe(allow)
    if (method !== 'HEAD') expect((await problem(response)).code).toBe('method_not_allowed')
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
