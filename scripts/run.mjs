/**
 * `node scripts/run.mjs [NAME=value …] <arguments of bun>`: sets up once, then runs the pinned Bun
 * from the project's folder, with Bun's own `.env` loader off (it expands `$` in values). Signals
 * reach the program, which decides when it is done; its exit code is ours.
 */

import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { bunBinary, root, setupOrExit } from './setup.mjs'

const args = process.argv.slice(2)
while (/^[A-Z][A-Z0-9_]*=/.test(args[0] ?? '')) {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(args.shift())
  process.env[name] = value
}
await setupOrExit()

const child = spawn(bunBinary(), ['--no-env-file', ...args], { cwd: root, stdio: 'inherit' })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) {
  // A terminal signals the child too; a process manager only us.
  process.on(signal, () => child.kill(signal))
}
child.on('error', (error) => {
  console.error(`Cannot start Bun: ${error.message}`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
