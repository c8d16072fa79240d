import { describe, expect, test } from 'bun:test'
import { sendRaw, startHttp } from './support.ts'

const production = { production: true, trustedProxies: ['127.0.0.1'] }
const https = { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' }
const http = { 'x-forwarded-proto': 'http', 'x-forwarded-for': '203.0.113.9' }
const CREDENTIALS = { email: 'ada@example.org', password: 'long enough' }

describe('in production, behind a proxy', () => {
  test('what arrived encrypted is answered', async () => {
    await using app = startHttp({ config: production })
    const got = await app.get('/api/v1/pools/mine', { token: 'good', headers: https })
    expect(got.status).toBe(200)
    const posted = await app.get('/api/v1/auth/login', { json: CREDENTIALS, headers: https })
    expect(posted.status).toBe(200)
  })

  test.each(['/api/v1/pools/mine', '/api/v1/pools/mine/', '/api', '/nowhere', '/'])(
    'a plain GET of %s is sent to the public address',
    async (path) => {
      await using app = startHttp({ config: production })
      for (const method of ['GET', 'HEAD']) {
        const response = await app.get(`${path}?a=b`, { token: 'good', headers: http, method })
        expect(response.status).toBe(308)
        expect(response.headers.get('location')).toBe(`https://rialto.example${path}?a=b`)
        expect(await response.text()).toBe('')
      }
    },
  )

  test('a plain POST is refused: its password has been on the line', async () => {
    await using app = startHttp({ config: production })
    const response = await app.get('/api/v1/auth/login', { json: CREDENTIALS, headers: http })
    expect(response.status).toBe(403)
    expect(await response.json()).toMatchObject({ code: 'forbidden' })
  })

  test('health and metrics are answered in the house without encryption', async () => {
    await using app = startHttp({ config: production })
    for (const path of ['/health', '/health/ready', '/metrics']) {
      expect((await app.get(path)).status).toBe(200)
    }
  })

  test('a stranger who says https is not believed', async () => {
    await using app = startHttp({ config: { ...production, trustedProxies: ['10.0.0.1'] } })
    expect((await app.get('/api', { headers: https })).status).toBe(308)
  })

  test('a redirect leads nowhere else, whatever the path', async () => {
    await using app = startHttp({ config: production })
    for (const path of ['//evil.example/', '/\\evil.example/', '/@evil.example/']) {
      const request = `GET ${path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n`
      const answer = await sendRaw(app.port, request, 50)
      expect(answer).toMatch(/^location: https:\/\/rialto\.example\//im)
    }
  })
})

test.each([
  ['in development', { production: false }],
  ['with TLS of its own', { production: true, tls: { cert: '', key: '' } }],
])('%s nothing is redirected', async (_, config) => {
  await using app = startHttp({ config })
  expect((await app.get('/api/v1/pools/mine', { token: 'good', headers: http })).status).toBe(200)
})
