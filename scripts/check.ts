/** `bun run check`: everything that needs no running server. All of it runs, whatever fails. */

import { dirname, join } from 'node:path'

const project = dirname(import.meta.dir)

const checks: readonly [name: string, ...command: string[]][] = [
  ['format', 'oxfmt', '--check'],
  ['lint', 'oxlint'],
  ['types', 'tsc', '--noEmit'],
  ['house rules', 'bun', '--no-env-file', 'scripts/tidy.ts'],
  ['dead code', 'knip'],
]

const env = {
  ...process.env,
  PATH: `${join(project, 'node_modules/.bin')}:${process.env['PATH']}`,
}

const failed = await Promise.all(
  checks.map(async ([name, ...command]) => {
    const child = Bun.spawn(command, { cwd: project, env, stdio: ['ignore', 'pipe', 'pipe'] })
    const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()])
    const passed = (await child.exited) === 0
    console.log(passed ? `ok    ${name}` : `FAIL  ${name}\n${output}${errors}`)
    return !passed
  }),
)
process.exit(failed.includes(true) ? 1 : 0)
