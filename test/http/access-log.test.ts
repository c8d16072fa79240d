import { describe, expect, test } from 'bun:test'
import { POOL_ID } from './sample-feature.ts'
import { startHttp } from './support.ts'

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
