import { describe, expect, test } from 'bun:test'
import type { PartState } from '../../src/http/edge.ts'
import { startHttp } from './support.ts'

describe('health', () => {
  test('lives, whatever its parts do', async () => {
    await using app = startHttp({ readiness: () => Promise.reject(new Error('down')) })
    const response = await app.get('/health')
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ status: 'ok' })
  })

  test.each<[string, Record<string, PartState>, number, string]>([
    ['is', { database: { ok: true }, broker: { ok: true, detail: 'memory' } }, 200, 'ready'],
    [
      'is not',
      { database: { ok: false, detail: 'no answer' }, broker: { ok: true } },
      503,
      'not_ready',
    ],
  ])('ready when every part is: one %s', async (_, parts, status, word) => {
    await using app = startHttp({ readiness: () => Promise.resolve(parts) })
    const response = await app.get('/health/ready')
    expect(response.status).toBe(status)
    expect(await response.json()).toEqual({ status: word, parts })
  })

  test('a readiness that fails is an error without its text', async () => {
    await using app = startHttp({ readiness: () => Promise.reject(new Error('secret text')) })
    const response = await app.get('/health/ready')
    expect(response.status).toBe(500)
    expect(await response.text()).not.toContain('secret text')
    expect(JSON.stringify(app.log())).toContain('secret text')
  })

  test('those who ask at the same time are answered by one look', async () => {
    let looks = 0
    const { promise, resolve } = Promise.withResolvers<Record<string, PartState>>()
    await using app = startHttp({
      readiness: () => {
        looks++
        return promise
      },
    })
    const asked = Array.from({ length: 20 }, () => app.get('/health/ready'))
    await app.get('/health')
    resolve({})
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect(looks).toBe(1)
    await app.get('/health/ready')
    expect(looks).toBe(2)
  })
})

describe('metrics', () => {
  const token = 'metrics-token-of-32-characters-00'
  const trustedProxies = ['127.0.0.1']
  test.each([
    ['from this machine', {}, {}, 200],
    ['through a proxy nobody declared', {}, { 'x-forwarded-for': '203.0.113.9' }, 403],
    ['through one that says nothing else', {}, { via: '1.1 proxy' }, 403],
    ['through a trusted proxy', { trustedProxies }, { 'x-forwarded-for': '203.0.113.9' }, 403],
    ['of a proxy’s own machine', { trustedProxies }, { 'x-forwarded-for': '127.0.0.1' }, 200],
    ['without the token', { metricsToken: token }, {}, 401],
    ['with another', { metricsToken: token }, { authorization: 'Bearer good' }, 401],
    ['with half of it', { metricsToken: token }, { authorization: 'Bearer metrics-token' }, 401],
    ['with it', { metricsToken: token }, { authorization: `Bearer ${token}` }, 200],
    [
      'with it, from afar',
      { metricsToken: token, trustedProxies },
      { authorization: `Bearer ${token}`, 'x-forwarded-for': '203.0.113.9' },
      200,
    ],
  ])('%s', async (_, config, headers, status) => {
    await using app = startHttp({ config })
    const response = await app.get('/metrics', { headers: new Headers(headers as {}) })
    expect(response.status).toBe(status)
    expect((await response.text()).includes('# TYPE http_request_duration_seconds histogram')).toBe(
      status === 200,
    )
    if (status === 200) expect(response.headers.get('content-type')).toContain('version=0.0.4')
  })
})

describe('the rest', () => {
  test('the index names the ways in', async () => {
    await using app = startHttp()
    const index = (await (await app.get('/')).json()) as Record<string, string>
    expect(index).toMatchObject({ name: 'Rialto', version: '1.2.3', api: '/api/v1' })
    for (const path of [index['documentation'], index['openapi'], index['asyncapi']]) {
      expect((await app.get(path as string)).status).toBe(200)
    }
  })

  test('a browser that looks for an icon finds silence', async () => {
    await using app = startHttp()
    expect((await app.get('/favicon.ico')).status).toBe(204)
  })
})
