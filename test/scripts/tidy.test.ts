import { describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { checkFile, checkProject } from '../../scripts/tidy.ts'
import { refusal } from '../../scripts/tidy/boundaries.ts'

const messages = (path: string, text: string) =>
  checkFile(path, text).map(({ line, message }) => `${line} ${message}`)

describe('owned globals', () => {
  const cases: [code: string, instead: string][] = [
    ['const at = Date.now()', 'clock.now()'],
    ['const at = new Date()', 'clock.date()'],
    ['const at = performance.now()', 'clock.monotonicMs()'],
    ['setTimeout(run, 5)', 'clock.setTimeout()'],
    ['globalThis.process.env.PORT', 'Config'],
    ['const { PORT } = Bun.env', 'Config'],
    ['const id = crypto.randomUUID()', 'uuidv7()'],
    ['const chance = Math.random() < 0.5', 'randomInt()'],
    ["await fetch('http://localhost')", 'driver'],
  ]
  test.each(cases)('%s is refused and the replacement named', (code, instead) => {
    expect(messages('src/messaging/x.ts', code)).toEqual([expect.stringContaining(instead)])
    expect(messages('test/messaging/x.test.ts', code)).toEqual([])
  })

  test('the owner may, and so may whoever is handed a clock', () => {
    expect(messages('src/base/clock.ts', 'const at = Date.now()')).toEqual([])
    const code = 'clock.setTimeout(run, 5); new Date(clock.now()); app.fetch(request) // Date.now()'
    expect(messages('src/messaging/x.ts', code)).toEqual([])
  })
})

describe('boundaries', () => {
  const refused: [from: string, to: string][] = [
    ['src/kernel/operation.ts', 'src/messaging/index.ts'],
    ['src/messaging/operations.ts', 'realtime/hub.ts'],
    ['src/messaging/operations.ts', 'src/http/server.ts'],
    ['src/messaging/operations.ts', 'src/auth/store.ts'],
    ['src/messaging/operations.ts', 'jobs/enqueue.ts'],
    ['realtime/gateway.ts', 'src/http/server.ts'],
    ['realtime/gateway.ts', 'src/auth/store.ts'],
    ['db/client.ts', 'src/auth/index.ts'],
    ['src/main.ts', 'test/support/server.ts'],
  ]
  test.each(refused)('%s must not import %s', (from, to) => {
    expect(refusal(from, to)).toBeString()
  })

  const allowed: [from: string, to: string][] = [
    ['src/messaging/operations.ts', 'src/messaging/store.ts'],
    ['src/messaging/receipts/read.ts', 'src/messaging/store.ts'],
    ['src/messaging/operations.ts', 'src/auth/index.ts'],
    ['src/messaging/operations.ts', 'db/schema/index.ts'],
    ['realtime/gateway.ts', 'src/kernel/operation.ts'],
    ['src/main.ts', 'realtime/gateway.ts'],
    ['test/realtime/gateway.test.ts', 'realtime/gateway.ts'],
  ]
  test.each(allowed)('%s may import %s', (from, to) => {
    expect(refusal(from, to)).toBeUndefined()
  })

  test('packages of an edge stay there, type imports and re-exports too', () => {
    expect(messages('src/auth/x.ts', "import type { Elysia } from 'elysia'")).toHaveLength(1)
    expect(messages('src/auth/x.ts', "export * from '../../realtime/hub.ts'")).toHaveLength(1)
    expect(messages('src/auth/x.ts', "await import('ioredis')")).toHaveLength(1)
    expect(messages('src/http/x.ts', "import { Elysia } from 'elysia'")).toEqual([])
  })
})

describe('shape', () => {
  const body = (lines: number) => '  step()\n'.repeat(lines)
  const outer = (inner: string) => `/** Doc. */\nexport function a() {\n${inner}}\n`

  test('a function fits a screen, not counting those inside it', () => {
    expect(messages('src/x/a.ts', outer(body(68)))).toEqual([])
    expect(messages('src/x/a.ts', outer(body(69)))).toEqual([
      expect.stringMatching(/^2 function of 71 lines/),
    ])
    const closure = `  const b = () => {\n${body(60)}  }\n`
    expect(messages('src/x/a.ts', outer(closure + closure + body(60)))).toEqual([])
  })

  test('lines and files have a limit', () => {
    expect(messages('src/x/a.ts', `const a = '${'x'.repeat(89)}'`)).toHaveLength(1)
    expect(messages('src/x/a.ts', `const a = '${'x'.repeat(88)}'`)).toEqual([])
    expect(messages('src/x/a.ts', 'a()\n'.repeat(501))).toHaveLength(1)
  })

  test('exported functions carry a docstring', () => {
    expect(messages('db/a.ts', 'export function a() {}')).toHaveLength(1)
    expect(messages('db/a.ts', '/** File. */\nconst x = 1\nexport const a = () => x')).toHaveLength(
      1,
    )
    expect(messages('db/a.ts', '/** What for. */\nexport const a = () => 1')).toEqual([])
    expect(messages('db/a.ts', 'function a() {}')).toEqual([])
  })

  test('no unfinished marks, no focused tests', () => {
    // Built at run time, so that this file passes its own check.
    expect(messages('src/x/a.ts', `// ${'TO'}DO later`)).toHaveLength(1)
    expect(messages('test/a.test.ts', `test.${'only'}('a', () => {})`)).toHaveLength(1)
  })
})

test('a project needs folder descriptions and a lockfile without addresses', () => {
  const root = mkdtempSync(join(tmpdir(), 'rialto-tidy-'))
  try {
    const write = (path: string, text: string) => {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), text)
    }
    write('src/a/x.ts', 'const a = 1')
    write('src/b/x.ts', 'const b = 1')
    write('src/b/index.ts', '/** What b is for. */\n')
    write('bun.lock', '{\n"a": "http://mirror/a.tgz"\n}')
    expect(checkProject(root).map(({ path, line }) => `${path}:${line}`)).toEqual([
      'src/a:1',
      'bun.lock:2',
    ])
  } finally {
    rmSync(root, { recursive: true })
  }
})
