import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from '../../scripts/build.ts'

test('the build starts, serves and ends', async () => {
  // Inside the project, so that the packages are found.
  const outdir = join(import.meta.dir, '../../node_modules/.build-test')
  const dataDir = mkdtempSync(join(tmpdir(), 'rialto-build-'))
  const port = await freePort()
  await build(outdir)
  const { PATH, HOME } = process.env
  const server = Bun.spawn([process.execPath, '--no-env-file', join(outdir, 'main.js')], {
    cwd: dataDir,
    env: { PATH, HOME, HOST: '127.0.0.1', PORT: String(port), DATA_DIR: dataDir },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  try {
    expect(await health(port, server)).toBe(200)
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
  } finally {
    server.kill('SIGKILL')
    rmSync(dataDir, { recursive: true, force: true })
    rmSync(outdir, { recursive: true, force: true })
  }
}, 60_000)

async function freePort(): Promise<number> {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = listener
  listener.stop(true)
  return port
}

async function health(port: number, server: Bun.Subprocess): Promise<number | undefined> {
  while (server.exitCode === null) {
    try {
      return (await fetch(`http://127.0.0.1:${port}/health`)).status
    } catch {
      await Bun.sleep(50)
    }
  }
  return undefined
}
