import type { LogFields, Logger, LogLevel } from '../../src/observe/log.ts'

/** An entry that a test may look at. */
export interface Entry {
  readonly level: LogLevel
  readonly message: string
  readonly fields: LogFields
}

/** A logger that keeps its entries instead of printing them. */
export function recordingLog(): Logger & { readonly entries: Entry[] } {
  const entries: Entry[] = []
  const at =
    (level: LogLevel, base: LogFields) =>
    (message: string, fields: LogFields = {}) =>
      void entries.push({ level, message, fields: { ...base, ...fields } })
  const make = (base: LogFields): Logger => ({
    debug: at('debug', base),
    info: at('info', base),
    warn: at('warn', base),
    error: at('error', base),
    fatal: at('fatal', base),
    child: (fields) => make({ ...base, ...fields }),
    enabled: () => true,
    flush: () => Promise.resolve(),
  })
  return { ...make({}), entries }
}

/** A logger for those who do not care; errors show with `TEST_LOG=1`. */
export const quietLog: Logger = {
  ...recordingLog(),
  ...(process.env['TEST_LOG'] === undefined
    ? {}
    : { warn: console.error, error: console.error, fatal: console.error, info: console.error }),
}
