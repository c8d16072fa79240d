import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await testServer()
})
afterAll(() => server.stop())

async function run(script: string, args: string[] = [], env: Record<string, string> = {}) {
  const path = join(import.meta.dir, '../../scripts', script)
  const child = Bun.spawn([process.execPath, '--no-env-file', path, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    // Elsewhere: a developer's own .env must not count.
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { out, err, code }
}

describe('the demo', () => {
  test('shows two people talking, and everything it checks is true', async () => {
    const { out, err, code } = await run('demo-messaging.ts', [server.url])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).not.toContain('✗')
    expect(out.match(/✓/g)?.length).toBe(10)
    expect(out).toContain("Bob's phone  ◀ missed message")
  })

  test('says what is wrong when there is no server', async () => {
    const { err, code } = await run('demo-messaging.ts', ['http://127.0.0.1:1'])
    expect(code).toBe(1)
    expect(err).toStartWith('demo: ')
  })
})

describe('the seed', () => {
  test('is the same however often it is sown', async () => {
    const first = await run('seed.ts', [server.url])
    expect({ code: first.code, err: first.err }).toEqual({ code: 0, err: '' })
    expect(first.out).toContain('ada@demo.example registered')
    const once = await conversations()
    expect(once.length).toBe(3)
    const second = await run('seed.ts', [server.url])
    expect(second.code).toBe(0)
    expect(second.out).toContain('ada@demo.example is there')
    expect(await conversations()).toEqual(once)
  })

  test('refuses to make accounts of a known password anywhere but here', async () => {
    const { err, code } = await run('seed.ts', ['https://example.org'])
    expect([code, err]).toEqual([1, 'seed: set SEED_PASSWORD: this server is not on localhost\n'])
  })

  /** Ada's, without what time does to them. */
  async function conversations() {
    const login = { email: 'ada@demo.example', password: 'demo-password' }
    const { body } = await rest(server, 'POST', '/api/v1/auth/login', { body: login })
    const list = await rest(server, 'GET', '/api/v1/conversations', { token: body['token'] })
    return list.body['items'] as unknown[]
  }
})

describe('db:migrate', () => {
  test('prepares a database, and says when there is nothing to do', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rialto-migrate-'))
    try {
      const env = { DATABASE_URL: server.database.ownerUrl, DATA_DIR: folder }
      const { out, err, code } = await run('migrate.ts', [], env)
      expect({ code, err }).toEqual({ code: 0, err: '' })
      expect(out).toMatch(/^database 127\.0\.0\.1:\d+\/test_/)
      expect(out).not.toContain('applied')
      expect(out).toContain('up to date')
      expect(out).not.toContain(new URL(env.DATABASE_URL).password)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test('prepares the embedded one where no other is configured', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rialto-migrate-'))
    try {
      const { out, code } = await run('migrate.ts', [], { DATA_DIR: folder })
      expect(code).toBe(0)
      expect(out).toContain('applied 0000_spine')
      expect(out).toContain('the server works as rialto_server')
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test('says in a sentence what is wrong', async () => {
    const { err, code } = await run('migrate.ts', [], { DATABASE_URL: 'nonsense' })
    expect(code).toBe(1)
    expect(err).toStartWith('db:migrate: ')
    expect(err).not.toContain('    at ')
  })
})
