/**
 * Our server as the bench runs it: the product in production mode, with the bench's own feature
 * and with limits so wide that they are counted and never reached.
 *
 * Prints one JSON line when it serves: `{port, pid, postgres_pid}`.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../src/base/clock.ts'
import { loadConfig } from '../src/config.ts'
import { features } from '../src/features.ts'
import { LIMITS, type LimitTable } from '../src/kernel/limits.ts'
import { createLogger } from '../src/observe/log.ts'
import { startServer } from '../src/server.ts'
import { benchFeature } from './feature.ts'

const wide = Object.fromEntries(
  Object.keys(LIMITS).map((name) => [name, { burst: 1e9, perSecond: 1e9, why: 'bench' }]),
) as unknown as LimitTable

const config = loadConfig({})
const log = createLogger({ level: 'warn', clock: systemClock })
const server = await startServer({
  config,
  log,
  features: [...features, benchFeature],
  limits: wide,
  // Production does not check its own answers; the bench measures production.
  checksOutputs: false,
})

/** The database's own process, when it is the embedded one: its CPU is part of the bill. */
function postgresPid(): number | undefined {
  if (!config.database.embedded) return undefined
  const file = join(config.dataDir, 'postgres', 'postmaster.pid')
  try {
    return Number(readFileSync(file, 'utf8').split('\n')[0])
  } catch {
    return undefined
  }
}

console.log(JSON.stringify({ port: server.port, pid: process.pid, postgres_pid: postgresPid() }))
process.on('SIGTERM', () => void server.stop().then(() => process.exit(0)))
