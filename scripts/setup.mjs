/**
 * Installs the pinned Bun and the locked packages, once. Plain Node, so that a machine with Node
 * and npm needs nothing else. Later calls compare one stamp file and do nothing.
 *
 * Concurrency: a lock file with a heartbeat lets one of several starts install while the others
 * wait. An attempt that was cut off leaves the stamp at `installing`, and the next one starts
 * from an empty `node_modules`, because a package may be there in part.
 */

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** The folder of package.json. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)))

const HEARTBEAT_MS = 1_000
/** A lock without a heartbeat for this long belongs to a process that is gone. */
const LOCK_STALE_MS = 5_000
/** Ends the set-up in order: the lock is given back, and the next one starts over. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP']
/** A Bun binary is about 100 MB; what is smaller is the package's placeholder. */
const BUN_BYTES_MIN = 1_000_000

/** The Bun that the packages bring, the same file name on every platform. */
export function bunBinary(folder = root) {
  return join(folder, 'node_modules', 'bun', 'bin', 'bun.exe')
}

const read = (path) => (fs.existsSync(path) ? fs.readFileSync(path, 'utf8') : undefined)
const modifiedMs = (path) => fs.statSync(path, { throwIfNoEntry: false })?.mtimeMs
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** What must be installed, as a hash: of the lockfile, the wanted packages and the machine. */
export function wantedHash(folder) {
  const { dependencies, optionalDependencies, devDependencies, trustedDependencies } =
    readPackage(folder)
  const wanted = [dependencies, optionalDependencies, devDependencies, trustedDependencies]
  return createHash('sha256')
    .update(JSON.stringify([...wanted, process.platform, process.arch]))
    .update(fs.readFileSync(join(folder, 'bun.lock')))
    .digest('hex')
}

function readPackage(folder) {
  return JSON.parse(fs.readFileSync(join(folder, 'package.json'), 'utf8'))
}

/**
 * Makes sure that `folder` has its packages.
 *
 * In production (`NODE_ENV=production`) development packages are left out; an installation that
 * has them serves production as well.
 *
 * @throws Error that says what failed and what to do
 */
export async function setup(folder = root) {
  const modules = join(folder, 'node_modules')
  const stamp = join(modules, '.setup')
  const production = process.env.NODE_ENV === 'production'
  const full = wantedHash(folder)
  const sufficient = production ? [full, `${full} production`] : [full]
  const installed = () => sufficient.includes(read(stamp)) && fs.existsSync(bunBinary(folder))
  if (installed()) return

  fs.mkdirSync(modules, { recursive: true })
  const unlock = await lock(join(modules, '.setup.lock'), installed)
  if (!unlock) return
  for (const signal of SIGNALS) process.on(signal, interrupt)
  try {
    if (read(stamp) === 'installing') empty(modules)
    fs.writeFileSync(stamp, 'installing')
    await install(folder, production)
    fs.writeFileSync(stamp, sufficient.at(-1))
    if (interruption) throw new Error(`interrupted by ${interruption}`)
  } finally {
    unlock()
    for (const signal of SIGNALS) process.off(signal, interrupt)
  }
}

/** Takes the lock, or returns undefined when somebody else has finished the work meanwhile. */
async function lock(path, finished) {
  for (let waiting = false; ; waiting = true) {
    if (finished()) return undefined
    try {
      fs.closeSync(fs.openSync(path, 'wx'))
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (Date.now() - (modifiedMs(path) ?? Date.now()) > LOCK_STALE_MS)
      fs.rmSync(path, { force: true })
    else if (!waiting) console.error('Waiting for another set-up of this folder …')
    await sleep(100)
  }
  const heartbeat = setInterval(() => {
    const now = new Date()
    // The folder may have been removed under us; the installation itself reports that.
    fs.utimes(path, now, now, () => {})
  }, HEARTBEAT_MS)
  return () => {
    clearInterval(heartbeat)
    fs.rmSync(path, { force: true })
  }
}

/** Removes what a cut-off attempt left, except the lock and the stamp. */
function empty(modules) {
  for (const name of fs.readdirSync(modules)) {
    if (name.startsWith('.setup')) continue
    fs.rmSync(join(modules, name), { recursive: true, force: true })
  }
}

async function install(folder, production) {
  const startMs = performance.now()
  const version = readPackage(folder).dependencies.bun
  console.error(`Installing Bun ${version} and the locked packages (once) …`)
  const bootstrap = join(folder, 'node_modules', '.setup-bun')
  try {
    const bun = usableBun(folder, version) ?? (await downloadBun(folder, bootstrap, version))
    const flags = production ? ['--production'] : []
    await run(bun, ['install', '--frozen-lockfile', '--no-progress', ...flags], { cwd: folder })
  } finally {
    fs.rmSync(bootstrap, { recursive: true, force: true })
  }
  if (!usableBun(folder, version)) throw new Error(`${bunBinary(folder)} is not Bun ${version}`)
  console.error(`Installed in ${((performance.now() - startMs) / 1_000).toFixed(1)} s`)
}

/** An installed Bun of the pinned version, which updates the rest without a download. */
function usableBun(folder, version) {
  const binary = bunBinary(folder)
  const size = fs.statSync(binary, { throwIfNoEntry: false })?.size ?? 0
  if (size < BUN_BYTES_MIN) return undefined
  const found = JSON.parse(fs.readFileSync(join(dirname(dirname(binary)), 'package.json'), 'utf8'))
  return found.version === version ? binary : undefined
}

/**
 * Fetches Bun through npm without running any package's script, and checks it against the
 * lockfile's hash before it runs for the first time.
 */
async function downloadBun(folder, bootstrap, version) {
  fs.mkdirSync(bootstrap, { recursive: true })
  const flags = ['--no-save', '--no-package-lock', '--ignore-scripts', '--loglevel=error']
  const quiet = ['--no-audit', '--no-fund', '--no-update-notifier']
  const npm = ['install', '--prefix', '.', ...flags, ...quiet, `bun@${version}`]
  const shell = process.platform === 'win32'
  await run('npm', npm, { cwd: bootstrap, shell })

  const lockfile = fs.readFileSync(join(folder, 'bun.lock'), 'utf8')
  const { packages } = JSON.parse(
    fs.readFileSync(join(bootstrap, 'node_modules', '.package-lock.json'), 'utf8'),
  )
  for (const [path, { integrity }] of Object.entries(packages)) {
    if (!path.startsWith('node_modules/@oven/')) continue
    if (!integrity || !lockfile.includes(`"${integrity}"`)) {
      throw new Error(`${path} is not the one that bun.lock names (${integrity}): not run`)
    }
    const name = process.platform === 'win32' ? 'bun.exe' : 'bun'
    return join(bootstrap, path, 'bin', name)
  }
  throw new Error(`there is no Bun for ${process.platform} on ${process.arch}`)
}

/** The program that runs now, and the signal that has ended the set-up. */
let child
let interruption

function interrupt(signal) {
  interruption = signal
  child?.kill(signal)
}

/** Runs a program quietly; its output is shown only when it fails. */
async function run(command, args, options) {
  if (interruption) throw new Error(`interrupted by ${interruption}`)
  child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.on('data', (data) => (output += data))
  child.stderr.on('data', (data) => (output += data))
  const [code, signal] = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (...result) => resolve(result))
  })
  if (code !== 0) throw new Error(`${command} ${args[0]} failed (${code ?? signal})\n${output}`)
}

/** `setup` as a program sees it: a failure is a sentence and exit code 1. */
export async function setupOrExit() {
  try {
    await setup()
  } catch (error) {
    console.error(`Set-up failed: ${error.message}`)
    process.exit(1)
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await setupOrExit()
