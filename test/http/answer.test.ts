import { afterAll, describe, expect, test } from 'bun:test'
import type { Problem } from '../../src/http/problem.ts'
import { POOL_ID } from './sample-feature.ts'
import { startHttp } from './support.ts'

const POSITIONS = `/api/v1/pools/${POOL_ID}/positions`

const problem = async (response: Response) => {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  return (await response.json()) as Problem
}

// Most rules hold whatever came before, so one server with room for all requests serves them.
const app = startHttp({
  config: { rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 10_000 } },
})
afterAll(() => app[Symbol.asyncDispose]())

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
