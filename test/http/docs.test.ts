import { describe, expect, test } from 'bun:test'
import { startHttp } from './support.ts'

describe('the page of the documentation', () => {
  test('loads only what this server has', async () => {
    await using app = startHttp()
    for (const path of ['/api', '/api/']) {
      const page = await app.get(path)
      expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
      const links = [...(await page.text()).matchAll(/(?:src|href)="([^"]+)"/g)]
      expect(links).toHaveLength(4)
      for (const [, link] of links) {
        expect(link).toMatch(/^\/api-docs\//)
        const response = await app.get(link as string)
        expect([link!, response.status]).toEqual([link!, 200])
        expect((await response.bytes()).length).toBeGreaterThan(100)
      }
    }
  })

  test('lets nothing inline run, nor anything from elsewhere', async () => {
    await using app = startHttp()
    const response = await app.get('/api')
    const policy = response.headers.get('content-security-policy') as string
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("script-src 'self'")
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    expect(await response.text()).not.toMatch(/<script>|<style|style=|onload=/)
  })

  test('sends the address of the document to nobody', async () => {
    await using app = startHttp()
    expect(await (await app.get('/api-docs/start.js')).text()).toContain('validatorUrl: null')
  })

  test.each(['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png', 'start.js'])(
    '%s is not sent again to who has it',
    async (name) => {
      await using app = startHttp()
      const first = await app.get(`/api-docs/${name}`)
      const etag = first.headers.get('etag') as string
      const again = await app.get(`/api-docs/${name}`, { headers: { 'if-none-match': etag } })
      expect([again.status, (await again.bytes()).length]).toEqual([304, 0])
      expect(first.headers.get('cache-control')).toBe('no-cache')
      expect(first.headers.get('content-type')).not.toBe('application/json')
    },
  )

  test('gives away no other file', async () => {
    await using app = startHttp()
    for (const name of ['package.json', '../package.json', '%2e%2e/package.json', '']) {
      expect((await app.get(`/api-docs/${name}`)).status).toBe(404)
    }
  })
})
