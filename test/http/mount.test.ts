import { afterAll, describe, expect, test } from 'bun:test'
import type { Problem } from '../../src/http/problem.ts'
import type { Executor } from '../../src/kernel/execute.ts'
import { POOL_ID } from './sample-feature.ts'
import { startHttp } from './support.ts'

const POOL = { id: POOL_ID, name: 'Duomo', state: 'open', parent: null }
const POSITIONS = `/api/v1/pools/${POOL_ID}/positions`

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
