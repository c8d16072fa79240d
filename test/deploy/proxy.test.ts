import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from '../support/client.ts'
import { testServer } from '../support/server.ts'
import type { TestServer } from '../support/server.ts'

/** A production server behind the nginx of `deploy/`, whose addresses and certificate are ours. */
const nginx = Bun.which('nginx', { PATH: `${process.env['PATH']}:/usr/sbin` })
const openssl = Bun.which('openssl')

describe.skipIf(!nginx || !openssl)('behind the proxy (skipped without nginx and openssl)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rialto-proxy-'))
  const [plainPort, tlsPort] = [freePort(), freePort()]
  const url = `https://localhost:${tlsPort}`
  const tls = { rejectUnauthorized: false }
  let server: TestServer
  let proxy: Bun.Subprocess

  beforeAll(async () => {
    server = await testServer({
      env: {
        NODE_ENV: 'production',
        ENVIRONMENT: 'production',
        RATE_LIMITS: 'on',
        PUBLIC_URL: url,
        TRUSTED_PROXIES: '127.0.0.1',
      },
    })
    const subject = ['-subj', '/CN=localhost', '-days', '1', '-newkey', 'rsa:2048', '-nodes']
    const files = ['-keyout', join(folder, 'privkey.pem'), '-out', join(folder, 'fullchain.pem')]
    Bun.spawnSync([openssl!, 'req', '-x509', ...subject, ...files])
    const config = readFileSync(join(import.meta.dir, '../../deploy/nginx.conf'), 'utf8')
      .replaceAll('/etc/nginx/tls', folder)
      .replaceAll('server:8080', `127.0.0.1:${server.port}`)
      .replace(/listen \[::\].*\n/g, '')
      .replace('listen 80;', `listen 127.0.0.1:${plainPort};`)
      .replace('listen 443 ssl;', `listen 127.0.0.1:${tlsPort} ssl;`)
      .replace('error_log /dev/stderr', `error_log ${folder}/error.log`)
      .replace('http {', `http {\n${temporaryPaths(folder)}`)
    writeFileSync(join(folder, 'nginx.conf'), config)
    const globals = `daemon off; pid ${folder}/pid;`
    proxy = Bun.spawn([nginx!, '-c', join(folder, 'nginx.conf'), '-g', globals], {
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    await answering(`http://127.0.0.1:${plainPort}/`)
  }, 30_000)

  afterAll(async () => {
    proxy.kill('SIGTERM')
    await proxy.exited
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('REST is served by HTTPS, and plain requests are sent there', async () => {
    const health = await fetch(`${url}/health`, { tls })
    expect(health.status).toBe(200)
    expect(health.headers.get('strict-transport-security')).toStartWith('max-age=')
    const plain = await fetch(`http://127.0.0.1:${plainPort}/api/v1/x?y=1`, { redirect: 'manual' })
    expect(plain.status).toBe(308)
    expect(plain.headers.get('location')).toBe('https://127.0.0.1/api/v1/x?y=1')
  })

  test('sockets are upgraded and stay open', async () => {
    const response = await fetch(`${url}/api/v1/auth/register`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ email: 'proxy@example.org', password: 'a password of the tests' }),
      tls,
    })
    expect(response.status).toBe(201)
    const { token } = (await response.json()) as { token: string }
    const address = `${url.replace('https', 'wss')}/ws?token=${token}`
    const client = await Client.open(address, { tls })
    await client.wait(({ type }) => type === 'connected')
    expect(await client.ask('ping')).toBeObject()
    await client.close()
  })

  test('figures stay inside', async () => {
    expect((await fetch(`${url}/metrics`, { tls })).status).toBe(404)
  })
})

function freePort(): number {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = listener
  listener.stop(true)
  return port
}

/** Where an nginx that is not installed as a service may keep what it buffers. */
function temporaryPaths(folder: string): string {
  return ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};\n`)
    .join('')
}

async function answering(address: string): Promise<void> {
  for (let i = 0; i < 200; i++) {
    try {
      await fetch(address, { redirect: 'manual' })
      return
    } catch {
      await Bun.sleep(25)
    }
  }
  throw new Error('nginx did not start')
}
