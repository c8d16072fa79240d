import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { appendFileSync, chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * The real set-up in a small project of its own, with an `npm` that brings a `bun` that notes what
 * it was asked for. No network; what a real installation does is seen by every first start.
 */
let folder: string

const project = join(import.meta.dir, '../..')
const path = (...names: string[]) => join(folder, ...names)
const modules = (...names: string[]) => path('app', 'node_modules', ...names)
const asked = () => (existsSync(path('asked')) ? readFileSync(path('asked'), 'utf8').trim() : '')

/** What `bun install` does, as far as set-up looks: a Bun of the right version and size. */
const fakeBun = (root: string, ms: number, code: number) => `#!/bin/sh
echo "bun $*" >> ${root}/asked
${ms < 60_000 ? '' : 'exec '}sleep ${ms / 1_000}
test ${code} = 0 || { echo 'no space left'; exit ${code}; }
mkdir -p ${root}/app/node_modules/bun/bin
echo '{ "version": "9.9.9" }' > ${root}/app/node_modules/bun/package.json
cp "$0" ${root}/app/node_modules/bun/bin/bun.exe
head -c 1000000 /dev/zero >> ${root}/app/node_modules/bun/bin/bun.exe
`

const fakeNpm = (root: string, integrity: string) => `#!/bin/sh
echo "npm $*" >> ${root}/asked
mkdir -p node_modules/@oven/bun-here/bin
cp ${root}/bun node_modules/@oven/bun-here/bin/bun
echo '{ "packages": { "node_modules/@oven/bun-here": { "integrity": "${integrity}" } } }' \\
  > node_modules/.package-lock.json
`

function prepare({ integrity = 'sha512-right', installMs = 0, exitCode = 0 } = {}) {
  writeFileSync(path('bun'), fakeBun(folder, installMs, exitCode))
  writeFileSync(path('bin/npm'), fakeNpm(folder, integrity))
  for (const program of [path('bun'), path('bin/npm')]) chmodSync(program, 0o755)
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rialto-setup-'))
  for (const name of ['bin', 'app/scripts']) mkdirSync(path(name), { recursive: true })
  for (const name of ['setup.mjs', 'run.mjs']) {
    cpSync(join(project, 'scripts', name), path('app/scripts', name))
  }
  writeFileSync(path('app/package.json'), '{ "dependencies": { "bun": "9.9.9" } }')
  writeFileSync(path('app/bun.lock'), '"@oven/bun-here": ["…", "sha512-right"]')
  prepare()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function start(environment: Record<string, string> = {}) {
  const { PATH } = process.env
  return Bun.spawn(['node', path('app/scripts/setup.mjs')], {
    cwd: '/',
    env: { PATH: `${path('bin')}:${PATH}`, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function setUp(environment: Record<string, string> = {}) {
  const child = start(environment)
  const output = await new Response(child.stderr).text()
  return { exitCode: await child.exited, output }
}

describe('set-up', () => {
  test('installs the locked packages with the pinned Bun, and then does nothing', async () => {
    const first = await setUp()
    expect(first).toEqual({ exitCode: 0, output: expect.stringContaining('Bun 9.9.9') })
    const [npm, bun] = asked().split('\n')
    expect(npm).toMatch(/^npm install .*--ignore-scripts .*bun@9\.9\.9$/)
    expect(bun).toBe('bun install --frozen-lockfile --no-progress')
    expect(readdirSync(modules()).toSorted()).toEqual(['.setup', 'bun'])
    expect(readdirSync(path('app')).toSorted()).toEqual([
      'bun.lock',
      'node_modules',
      'package.json',
      'scripts',
    ])
    rmSync(path('asked'))
    expect(await setUp()).toEqual({ exitCode: 0, output: '' })
    expect(asked()).toBe('')
  })

  test('installs again when the lockfile changes, without another download', async () => {
    await setUp()
    rmSync(path('asked'))
    appendFileSync(path('app/bun.lock'), '\n')
    await setUp()
    expect(asked()).toBe('bun install --frozen-lockfile --no-progress')
  })

  test('in production leaves development packages out, until they are wanted', async () => {
    const production = { NODE_ENV: 'production' }
    await setUp(production)
    expect(asked()).toEndWith('--production')
    rmSync(path('asked'))
    await setUp(production)
    expect(asked()).toBe('')
    await setUp()
    expect(asked()).toBe('bun install --frozen-lockfile --no-progress')
    rmSync(path('asked'))
    await setUp(production)
    expect(asked()).toBe('')
  })

  test('does not run a Bun that is not the one of the lockfile', async () => {
    prepare({ integrity: 'sha512-other' })
    const { exitCode, output } = await setUp()
    expect(exitCode).toBe(1)
    expect(output).toContain('not the one that bun.lock names')
    expect(asked()).not.toContain('bun install --frozen')
  })

  test('says what went wrong, and tries again next time from an empty folder', async () => {
    prepare({ exitCode: 3 })
    const { exitCode, output } = await setUp()
    expect(exitCode).toBe(1)
    expect(output).toMatch(/Set-up failed: .* failed \(3\)\nno space left/)
    prepare()
    mkdirSync(modules('half-a-package'))
    expect(await setUp()).toMatchObject({ exitCode: 0 })
    expect(readdirSync(modules()).toSorted()).toEqual(['.setup', 'bun'])
  })

  test('of several at once installs once', async () => {
    prepare({ installMs: 300 })
    const all = await Promise.all([setUp(), setUp(), setUp()])
    expect(all.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0])
    expect(asked().match(/bun install --frozen/g)).toHaveLength(1)
  })

  test.each(['SIGTERM', 'SIGINT'] as const)(
    'that gets %s in the middle starts over',
    async (signal) => {
      prepare({ installMs: 60_000 })
      const child = start()
      while (!asked().includes('bun install --frozen')) await Bun.sleep(10)
      child.kill(signal)
      expect(await child.exited).toBe(1)
      prepare()
      expect(await setUp()).toMatchObject({ exitCode: 0 })
    },
  )

  test('that was killed does not lock the next out', async () => {
    mkdirSync(modules('half-a-package'), { recursive: true })
    writeFileSync(modules('.setup'), 'installing')
    writeFileSync(modules('.setup.lock'), '')
    const longAgo = new Date(Date.now() - 60_000)
    utimesSync(modules('.setup.lock'), longAgo, longAgo)
    expect(await setUp()).toMatchObject({ exitCode: 0 })
    expect(existsSync(modules('half-a-package'))).toBeFalse()
  })
})
