import { describe, expect, test } from 'bun:test'
import type { Config } from '../../src/config.ts'
import { createAnswerHeaders } from '../../src/http/headers.ts'
import { originAllowed } from '../../src/net/origins.ts'
import { startHttp } from './support.ts'

describe('whose pages may call', () => {
  const policies = {
    listed: { origins: ['https://app.example'], localhostAllowed: false },
    local: { origins: [], localhostAllowed: true },
  }
  test.each<['listed' | 'local', string, boolean]>([
    ['listed', 'https://app.example', true],
    ['listed', 'https://app.example:8443', false],
    ['listed', 'http://app.example', false],
    ['listed', 'https://app.example.evil', false],
    ['listed', 'https://evil.app.example', false],
    ['listed', 'null', false],
    ['listed', '', false],
    ['listed', 'http://localhost:3000', false],
    ['local', 'http://localhost:3000', true],
    ['local', 'http://localhost', true],
    ['local', 'https://localhost:3000', true],
    ['local', 'http://127.0.0.1:5173', true],
    ['local', 'http://[::1]:5173', true],
    ['local', 'http://localhost.evil', false],
    ['local', 'http://localhost:3000.evil', false],
    ['local', 'http://evil/http://localhost:1', false],
  ])('%s: %s %p', (policy, origin, expected) => {
    expect(originAllowed(policies[policy], origin)).toBe(expected)
  })
})

describe('answers to other origins', () => {
  const ORIGIN = 'https://app.example'
  const paths = ['/api/v1/pools/mine', '/api/v1/nowhere', '/api-json', '/health']

  test.each(paths)('%s can be read by an allowed origin and by no other', async (path) => {
    await using app = startHttp()
    const allowed = await app.get(path, { token: 'good', headers: { origin: ORIGIN } })
    expect(allowed.headers.get('access-control-allow-origin')).toBe(ORIGIN)
    expect(allowed.headers.get('access-control-expose-headers')).toContain('Idempotent-Replayed')
    const refused = await app.get(path, { token: 'good', headers: { origin: 'https://evil' } })
    expect(refused.headers.has('access-control-allow-origin')).toBe(false)
    for (const { headers } of [allowed, refused]) {
      expect(headers.get('vary')).toBe('Origin')
      expect(headers.has('access-control-allow-credentials')).toBe(false)
    }
  })

  test('a preflight says what may be sent', async () => {
    await using app = startHttp()
    const ask = (origin: string) =>
      app.get('/api/v1/pools', {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'PUT' },
      })
    const { status, headers } = await ask(ORIGIN)
    expect(status).toBe(204)
    expect(headers.get('access-control-allow-origin')).toBe(ORIGIN)
    expect(headers.get('access-control-allow-methods')).toContain('PUT')
    for (const name of ['Authorization', 'Content-Type', 'Idempotency-Key', 'X-Step-Up']) {
      expect(headers.get('access-control-allow-headers')).toContain(name)
    }
    expect(Number(headers.get('access-control-max-age'))).toBeGreaterThan(0)
    expect((await ask('https://evil')).headers.has('access-control-allow-methods')).toBe(false)
  })

  test('an OPTIONS that is no preflight says which methods there are', async () => {
    await using app = startHttp()
    const { status, headers } = await app.get('/api/v1/pools', { method: 'OPTIONS' })
    expect([status, headers.get('allow')]).toEqual([204, 'GET, HEAD, OPTIONS'])
  })

  test('lists for endless origins are not kept endlessly', () => {
    const config = { production: false, cors: { origins: [], localhostAllowed: true } }
    const headers = createAnswerHeaders(config as unknown as Config)
    const of = (port: number) => headers.of('json', `http://localhost:${port}`)
    for (let port = 1; port <= 1_000; port++) of(port)
    expect(of(1)).toBe(of(1))
    expect(of(1_000)).not.toBe(of(1_000))
    expect(of(1_000).get('access-control-allow-origin')).toBe('http://localhost:1000')
  })
})

describe('security headers', () => {
  test.each([
    ['an answer', '/api/v1/pools/mine', 200],
    ['a refusal', '/api/v1/pools/x', 422],
    ['no address', '/nowhere', 404],
    ['a document', '/api-json', 200],
    ['metrics', '/metrics', 200],
    ['the page of the documentation', '/api', 200],
  ])('are on %s', async (_, path, status) => {
    for (const production of [false, true]) {
      await using app = startHttp({
        config: { production, ...(production ? { tls: { cert: '', key: '' } } : {}) },
      })
      const response = await app.get(path, { token: 'good' })
      expect(response.status).toBe(status)
      expect(response.headers.get('x-content-type-options')).toBe('nosniff')
      expect(response.headers.get('referrer-policy')).toBe('no-referrer')
      expect(response.headers.get('cross-origin-resource-policy')).toBe('same-origin')
      expect(response.headers.has('strict-transport-security')).toBe(production)
      const policy = response.headers.get('content-security-policy')
      if (path !== '/metrics') expect(policy).toContain("frame-ancestors 'none'")
    }
  })

  test('answers of operations are not kept by anybody', async () => {
    await using app = startHttp()
    const response = await app.get('/api/v1/pools/mine', { token: 'good' })
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(response.headers.get('content-type')).toBe('application/json')
  })
})
