import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, onAllCores, processorSeconds } from './machine.ts'
import { inTurn } from './order.ts'
import type { Peer } from './peers.ts'
import { failIfInterrupted, healthy, launch } from './process.ts'
import type { Result } from './results.ts'
import { environment, type Setting } from './turn.ts'

/**
 * Starts each server as a user does, with the embedded database: in an empty folder, which makes
 * keys and the cluster and migrates, then once more in the same. Counts the milliseconds from the
 * start of the process until /health answers, and the processor time of the server alone.
 */
export async function measureStarts(
  peers: readonly Peer[],
  rounds: number,
  setting: Setting,
  onResult: (result: Result) => void,
): Promise<void> {
  const data = join(setting.folder, 'start')
  for (let round = 0; round < rounds; round++) {
    for (const peer of inTurn(peers, round)) {
      rmSync(data, { recursive: true, force: true })
      for (const scenario of ['start-first', 'start-warm']) {
        failIfInterrupted()
        const figures = await measureStart(peer, data, setting)
        onResult({ peer: peer.name, scenario, round, figures, failures: 0, failure: '' })
      }
    }
  }
}

async function measureStart(
  { command: [bun = ''], checkout = '' }: Peer,
  data: string,
  setting: Setting,
): Promise<Record<string, number>> {
  const { database: _, ...embedded } = setting
  const port = await freePort()
  const begin = performance.now()
  const server = await launch({
    command: onAllCores([bun, join(checkout, 'src', 'main.ts')]),
    cwd: setting.folder,
    env: { ...environment(port, embedded), DATA_DIR: data },
    log: join(setting.folder, 'start.log'),
    ready: () => healthy(port),
  })
  const ms = performance.now() - begin
  const cpuSeconds = processorSeconds(server.pid)
  await server.stop()
  return { ms, cpu_ms: cpuSeconds * 1000, rate_per_cpu: 1 / cpuSeconds }
}
