import { join } from 'node:path'
import { freePort, onAllCores } from './machine.ts'
import { healthy, launch } from './process.ts'
import type { Result } from './results.ts'
import { environment, type Setting } from './turn.ts'

const MAIN = join(import.meta.dir, '..', 'src', 'main.ts')

/**
 * Starts the server as a user does, with the embedded database: once in an empty folder, which
 * makes keys and the cluster and migrates, then `rounds` times more. Counts the milliseconds from
 * the start of the process until /health answers.
 */
export async function measureStarts(
  rounds: number,
  setting: Setting,
  onResult: (result: Result) => void,
): Promise<void> {
  const { database: _, ...embedded } = setting
  for (let start = 0; start <= rounds; start++) {
    const port = await freePort()
    const begin = performance.now()
    const server = await launch({
      command: onAllCores([process.execPath, MAIN]),
      cwd: setting.folder,
      env: { ...environment(port, embedded), DATA_DIR: join(setting.folder, 'start') },
      log: join(setting.folder, 'start.log'),
      ready: () => healthy(port),
    })
    const ms = performance.now() - begin
    await server.stop()
    onResult({
      peer: 'ours',
      scenario: start === 0 ? 'start-first' : 'start-warm',
      round: Math.max(0, start - 1),
      figures: { ms },
      failures: 0,
      failure: '',
    })
  }
}
