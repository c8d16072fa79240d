import { describe, expect, test } from 'bun:test'
import { readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { configFolder } from './folder.ts'

const folder = configFolder()
const { load, problemsOf } = folder

describe('keys made at first start', () => {
  const keys = () => join(folder.cwd, '.rialto', 'keys')

  test('are kept, private, and the same at the next start', () => {
    const first = load()
    const again = load()
    expect(first.jwt.secrets[0]).toMatch(/^[\w-]{43}$/)
    expect(again.jwt.secrets).toEqual(first.jwt.secrets)
    expect(first.masterKeys[0]).toHaveLength(32)
    expect(again.masterKeys).toEqual(first.masterKeys)
    expect(readdirSync(keys()).sort()).toEqual(['jwt-secret', 'master-key'])
    for (const name of readdirSync(keys())) {
      expect(statSync(join(keys(), name)).mode & 0o777).toBe(0o600)
    }
    expect(statSync(keys()).mode & 0o777).toBe(0o700)
  })

  test('are one and the same for processes that start at once', async () => {
    const config = JSON.stringify(new URL('../../src/config.ts', import.meta.url).pathname)
    const program = `import { loadConfig } from ${config}
      await Bun.stdin.text()
      console.log(loadConfig({ env: {} }).jwt.secrets[0])`
    const children = Array.from({ length: 6 }, () =>
      Bun.spawn([process.execPath, '-e', program], { cwd: folder.cwd, stdin: 'pipe' }),
    )
    await Bun.sleep(200)
    for (const child of children) void child.stdin.end()
    const printed = await Promise.all(children.map((child) => child.stdout.text()))
    expect(printed[0]!.trim()).toMatch(/^[\w-]{43}$/)
    expect(new Set(printed).size).toBe(1)
    expect(readdirSync(keys()).sort()).toEqual(['jwt-secret', 'master-key'])
  })

  test('are not made when anything else is wrong', () => {
    expect(problemsOf({ PORT: 'x' })).toHaveLength(1)
    expect(() => readdirSync(keys())).toThrow('ENOENT')
  })

  test('are never replaced when damaged: the start is refused', () => {
    load()
    writeFileSync(join(keys(), 'master-key'), '')
    expect(problemsOf({})[0]).toContain('master-key does not hold a key: restore it')
  })

  test('that cannot be kept are a problem of DATA_DIR', () => {
    writeFileSync(join(folder.cwd, 'file'), '')
    expect(problemsOf({ DATA_DIR: 'file' })[0]).toMatch(/^DATA_DIR .*cannot keep .*ENOTDIR/)
  })
})
