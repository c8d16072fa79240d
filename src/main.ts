/** Starts the server; on SIGTERM or SIGINT it drains and leaves. A second signal leaves at once. */
import { systemClock } from './kernel/clock.ts'
import { createLogger } from './kernel/log.ts'
import { ConfigError, loadConfig } from './config.ts'
import { features } from './features.ts'
import { startServer } from './server.ts'
import { VERSION } from './version.ts'

async function main(): Promise<void> {
  const config = loadConfig({ features: features.map(({ name }) => name) })
  const log = createLogger({ ...config.log, clock: systemClock })
  for (const notice of config.notices) log.warn(notice)
  const server = await startServer({ config, log })
  const scheme = config.tls === undefined ? '' : 's'
  const host = config.host === '0.0.0.0' || config.host === '::' ? 'localhost' : config.host
  const at = `${host}:${server.port}`
  log.info('rialto is up', {
    version: VERSION,
    api: `http${scheme}://${at}/api/v1`,
    documentation: `http${scheme}://${at}/api`,
    sockets: `ws${scheme}://${at}/ws`,
    database: config.database.embedded ? `embedded, in ${config.dataDir}` : 'DATABASE_URL',
    pid: process.pid,
  })

  let leaving = false
  const leave = (signal: string) => {
    if (leaving) process.exit(1)
    leaving = true
    log.info('going away', { signal })
    void server
      .stop()
      .then(() => log.flush())
      .then(() => process.exit(0))
  }
  process.on('SIGTERM', () => leave('SIGTERM'))
  process.on('SIGINT', () => leave('SIGINT'))
  // What nobody expected must be seen, and must not leave half a server running.
  for (const kind of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(kind, (error: unknown) => {
      log.fatal('unexpected failure', { kind, error })
      void log.flush().then(() => leave(kind))
    })
  }
}

await main().catch((error: unknown) => {
  const text = error instanceof ConfigError ? error.message : error
  console.error(text)
  process.exit(1)
})
