/** Starts the server; on SIGTERM or SIGINT it drains and leaves. A second signal leaves at once. */
import { systemClock } from './base/clock.ts'
import { type Config, ConfigError, loadConfig } from './config.ts'
import { features } from './features.ts'
import { createLogger, type Logger } from './observe/log.ts'
import { startServer } from './server.ts'
import { VERSION } from './version.ts'

/** A signal that comes so much later than the first is somebody who will not wait. */
const IMPATIENT_MS = 1_000

/** Says where everything is: to people in development, to the log always. */
function announce(config: Config, port: number, log: Logger): void {
  const scheme = config.tls === undefined ? '' : 's'
  const host = ['0.0.0.0', '::'].includes(config.host) ? 'localhost' : config.host
  const addresses = {
    api: `http${scheme}://${host}:${port}/api/v1`,
    documentation: `http${scheme}://${host}:${port}/api`,
    sockets: `ws${scheme}://${host}:${port}/ws`,
  }
  const database = config.database.embedded ? `embedded, in ${config.dataDir}` : 'DATABASE_URL'
  log.info('rialto is up', { version: VERSION, ...addresses, database, pid: process.pid })
  if (config.production) return
  process.stdout.write(
    [
      '',
      `  Rialto ${VERSION} is up`,
      `    API            ${addresses.api}`,
      `    documentation  ${addresses.documentation}`,
      `    sockets        ${addresses.sockets}`,
      `    database       ${database}`,
      '',
    ].join('\n'),
  )
}

async function main(): Promise<void> {
  const config = loadConfig({ features: features.map(({ name }) => name) })
  const log = createLogger({ ...config.log, clock: systemClock })
  for (const notice of config.notices) log.warn(notice)
  const server = await startServer({ config, log })
  announce(config, server.port, log)

  let leavingSinceMs: number | undefined
  const leave = (signal: string) => {
    if (leavingSinceMs !== undefined) {
      // A terminal's Ctrl-C comes to the whole group, and once more through the launcher.
      if (systemClock.monotonicMs() - leavingSinceMs > IMPATIENT_MS) process.exit(1)
      return
    }
    leavingSinceMs = systemClock.monotonicMs()
    log.info('going away', { signal })
    void server
      .stop()
      .then(() => log.flush())
      .then(() => process.exit(0))
  }
  process.on('SIGTERM', () => leave('SIGTERM'))
  process.on('SIGINT', () => leave('SIGINT'))
  // Log files are reopened by themselves; the default of this signal would end the server.
  process.on('SIGHUP', () => log.info('log files are reopened when they are rotated'))
  // What nobody expected must be seen, and must not leave half a server running.
  for (const kind of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(kind, (error: unknown) => {
      log.fatal('unexpected failure', { kind, error })
      void log.flush().then(() => leave(kind))
    })
  }
}

await main().catch((error: unknown) => {
  const text = error instanceof ConfigError ? error.message : String((error as Error).stack)
  process.stderr.write(`${text}\n`)
  process.exit(1)
})
