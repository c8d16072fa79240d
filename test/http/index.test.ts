import { describe, expect, test } from 'bun:test'
import { Failure } from '../../src/base/errors.ts'
import { POOL_ID } from './sample-feature.ts'
import { testHttp } from './support.ts'

describe('the two routers', () => {
  const listener = { requestIP: () => ({ address: '127.0.0.1' }) }
  const request = (path: string) =>
    new Request(`http://rialto.example${path}`, { headers: { authorization: 'Bearer good' } })

  test('answer alike', async () => {
    const { http } = testHttp()
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
    await Promise.all([native.stop(true), elysia.stop(true)])
  })

  test('cost no promise where the operation needs none', () => {
    const { http } = testHttp()
    expect(http.fetch(request('/api/v1/pools/mine'), listener)).toBeInstanceOf(Response)
    expect(http.fetch(request(`/api/v1/pools/${POOL_ID}`), listener)).toBeInstanceOf(Response)
    expect(http.fetch(request('/api/v1/pools'), listener)).toBeInstanceOf(Promise)
  })

  test('find the path whatever the host is called', async () => {
    const { http } = testHttp()
    for (const host of ['http://a', 'http://a.b', 'http://a.b:1', 'http://rialto.example']) {
      const asked = new Request(`${host}/api/v1/pools/mine`, request('/'))
      expect([host, (await http.fetch(asked, listener)).status]).toEqual([host, 200])
    }
  })
})

test('a failure outside every route is a problem too', async () => {
  const { http } = testHttp({
    config: { production: true, trustedProxies: ['10.0.0.0/8'] },
  })
  const listener = {
    requestIP: () => {
      throw new Failure('unavailable')
    },
  }
  const response = await http.fetch(new Request('http://rialto.example/'), listener)
  expect(response.status).toBe(503)
})
