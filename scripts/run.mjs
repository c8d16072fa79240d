/**
 * `node scripts/run.mjs [NAME=value …] <arguments of bun>`: sets up once, then runs the pinned Bun
 * from the project's folder, with Bun's own `.env` loader off (it expands `$` in values). Signals
 * reach the program, which decides when it is done; its exit code is ours.
 */

import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { bunBinary, root, setupOrExit } from './setup.mjs'

const REPEATED_MS = 1_000
const PARENT_CHECK_MS = 250

const args = process.argv.slice(2)
while (/^[A-Z][A-Z0-9_]*=/.test(args[0] ?? '')) {
  const [, name, value] = /^([^=]+)=(.*)$/s.exec(args.shift())
  process.env[name] = value
}
await setupOrExit()

let child = null
const lastMs = {}
function handOn(signal) {
  if (!child) process.exit(128 + constants.signals[signal])
  // npm repeats a signal that its whole group has received; once is what was meant.
  const nowMs = performance.now()
  if (nowMs - (lastMs[signal] ?? -Infinity) > REPEATED_MS) child.kill(signal)
  lastMs[signal] = nowMs
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(signal, handOn)

child = spawn(bunBinary(), ['--no-env-file', ...args], { cwd: root, stdio: 'inherit' })
child.on('error', (error) => {
  console.error(`Cannot start Bun: ${error.message}`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))

if (process.env.npm_lifecycle_event) {
  // npm hands SIGTERM to a shell that dies of it without telling us.
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    child.kill('SIGTERM')
  }, PARENT_CHECK_MS)
}
