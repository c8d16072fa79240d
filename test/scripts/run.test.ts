import { afterAll, describe, expect, test } from 'bun:test'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { wantedHash } from '../../scripts/setup.mjs'

/** A project with this one's launcher, packages and Bun settings, and a program of its own. */
const folder = mkdtempSync(join(tmpdir(), 'rialto-run-'))
const project = join(import.meta.dir, '../..')
mkdirSync(join(folder, 'scripts'))
mkdirSync(join(folder, 'node_modules'))
for (const name of ['scripts/setup.mjs', 'scripts/run.mjs', 'bunfig.toml']) {
  cpSync(join(project, name), join(folder, name))
}
writeFileSync(
  join(folder, 'package.json'),
  '{ "scripts": { "program": "node scripts/run.mjs program.ts wait" } }',
)
writeFileSync(join(folder, 'bun.lock'), '')
writeFileSync(join(folder, 'node_modules/.setup'), wantedHash(folder))
symlinkSync(join(project, 'node_modules/bun'), join(folder, 'node_modules/bun'))
writeFileSync(join(folder, '.env'), 'HASH=$argon2id$v=19$m=19456\nFROM_FILE=yes\n')
writeFileSync(
  join(folder, 'program.ts'),
  `if (process.argv.includes('wait')) {
     process.on('SIGTERM', () => setTimeout(() => { console.log('drained'); process.exit(7) }, 100))
     setInterval(() => {}, 1_000)
   }
   const argv = process.argv.slice(2)
   console.log(JSON.stringify({ argv, env: process.env, cwd: process.cwd() }))
   if (process.argv.includes('die')) process.kill(process.pid, 'SIGKILL')
   process.exitCode = 5`,
)
afterAll(() => rmSync(folder, { recursive: true }))

const launcher = join(folder, 'scripts/run.mjs')
function start(...args: string[]) {
  const { PATH, HOME } = process.env
  return Bun.spawn(['node', launcher, ...args], {
    cwd: '/',
    env: { PATH, HOME },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

async function run(...args: string[]) {
  const child = start(...args)
  const output = await new Response(child.stdout).text()
  return { exitCode: await child.exited, ...JSON.parse(output) }
}

describe('the launcher', () => {
  test('runs a program in the project with its arguments and exit code', async () => {
    const { exitCode, argv, env, cwd } = await run('A=1', 'B=x=y z', 'program.ts', 'one', 'C=3')
    expect({ exitCode, argv, cwd }).toEqual({ exitCode: 5, argv: ['one', 'C=3'], cwd: folder })
    expect(env).toMatchObject({ A: '1', B: 'x=y z' })
  })

  test("keeps Bun's .env loader off, which would mangle what holds a $", async () => {
    const { env } = await run('program.ts')
    expect(env).not.toContainAnyKeys(['HASH', 'FROM_FILE'])
  })

  test('and so does bunfig.toml, for programs and tests that are started without it', async () => {
    writeFileSync(
      join(folder, 'env.test.ts'),
      `import { expect, test } from 'bun:test'
       test('env', () => expect(process.env.FROM_FILE).toBeUndefined())`,
    )
    const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] }
    const program = Bun.spawnSync([process.execPath, 'program.ts'], { cwd: folder, env })
    expect(JSON.parse(String(program.stdout)).env.FROM_FILE).toBeUndefined()
    writeFileSync(join(folder, 'bunfig.toml'), 'env = false\n')
    const tests = Bun.spawnSync([process.execPath, 'test'], { cwd: folder, env })
    expect(String(tests.stderr)).toContain('1 pass')
    // The control: without the setting, Bun reads and expands the file.
    rmSync(join(folder, 'bunfig.toml'))
    const control = Bun.spawnSync([process.execPath, 'program.ts'], { cwd: folder, env })
    expect(JSON.parse(String(control.stdout)).env.HASH).toBe('=19=19456')
    cpSync(join(project, 'bunfig.toml'), join(folder, 'bunfig.toml'))
  })

  test('hands a signal on and waits until the program has drained', async () => {
    const child = start('program.ts', 'wait')
    const reader = child.stdout.getReader()
    await reader.read()
    child.kill('SIGTERM')
    const { value } = await reader.read()
    expect(new TextDecoder().decode(value)).toBe('drained\n')
    expect(await child.exited).toBe(7)
  })

  test('ends with an npm that was told to end, though npm tells only its shell', async () => {
    const child = Bun.spawn(['npm', 'run', '--silent', 'program'], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const reader = child.stdout.getReader()
    await reader.read()
    child.kill('SIGTERM')
    const { value } = await reader.read()
    expect(new TextDecoder().decode(value)).toBe('drained\n')
    await child.exited
  })

  test('ends like a program that was killed', async () => {
    expect((await run('program.ts', 'die')).exitCode).toBe(128 + 9)
  })
})
