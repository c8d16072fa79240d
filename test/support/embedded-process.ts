/**
 * A process that starts the embedded PostgreSQL of the folder given first, says so in one line of
 * JSON, and waits. `exit` on standard input ends it without stopping PostgreSQL by hand, `stop`
 * stops it properly. Signals behave as in any program that does not care for them.
 */

import { startEmbeddedPostgres } from '../../db/embedded.ts'

const [dataDir, settings] = process.argv.slice(2)
const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`)
try {
  const { stop, ...server } = await startEmbeddedPostgres({
    dataDir: dataDir!,
    settings: settings ? JSON.parse(settings) : {},
  })
  say({ ...server, process: process.pid })
  for await (const line of console) {
    if (line === 'exit') process.exit(0)
    await stop()
    say({ stopped: true })
    process.exit(0)
  }
} catch (error) {
  say({ error: (error as Error).message })
  process.exit(1)
}
