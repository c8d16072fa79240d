/**
 * The PostgreSQL of a whole run of tests: prints where it is, as one line, and stops it when its
 * standard input ends. So it ends with whoever started it, also when that was killed; signals to
 * the group, as by Ctrl-C, are not its business.
 */
import { startTestCluster } from './database.ts'

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
const { ownerUrl, superuser, stop } = await startTestCluster()
try {
  console.log(JSON.stringify({ ownerUrl, superuser }))
  for await (const _ of Bun.stdin.stream());
} finally {
  await stop()
}
