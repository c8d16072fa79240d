import type { Account } from './account.ts'

/**
 * What PostgreSQL's programs see of the environment: nothing of ours, where secrets are. Windows
 * programs do not start without theirs.
 */
export const environment: Record<string, string> | undefined =
  process.platform === 'win32' ? undefined : { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }

interface RunOptions {
  readonly account?: Account | undefined
  readonly cwd?: string
  /** A file descriptor for standard input. */
  readonly stdin?: number
}

/** Runs a program to its end. One that cannot be started at all has exit code 127. */
export function runProgram(command: string[], { account, cwd = '/', stdin }: RunOptions) {
  try {
    const { exitCode, stdout, stderr } = Bun.spawnSync(command, {
      ...account,
      cwd,
      env: environment,
      stdio: [stdin ?? 'ignore', 'pipe', 'pipe'],
    })
    return { exitCode, output: Buffer.concat([stdout, stderr]).toString() }
  } catch (error) {
    return { exitCode: 127, output: (error as Error).message }
  }
}

/** Whether the system knows an account by a name; asked of `id`, which asks directories as well. */
export function hasName(uid: number): boolean {
  return runProgram(['id', '-un', String(uid)], {}).exitCode === 0
}
