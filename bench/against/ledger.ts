import type { openDatabase } from '../../db/client.ts'
import type { prepareDatabase } from '../../db/roles.ts'
import { systemClock } from '../../src/base/clock.ts'
import { createLogger } from '../../src/observe/log.ts'
import type { openBook, WORKLOADS } from '../ledger/workloads.ts'
import { take } from './modules.ts'
import { measure, type TurnOptions } from './workload.ts'

/** The workloads of a checkout's ledger bench, on its own ledger. */
export async function ledger(options: TurnOptions): Promise<void> {
  const { folder, databaseUrl: ownerUrl } = options
  const book = 'bench/ledger/workloads.ts'
  const open = await take<typeof openBook>(folder, 'openBook', book)
  const workloads = await take<typeof WORKLOADS>(folder, 'WORKLOADS', book)
  const database = await take<typeof openDatabase>(folder, 'openDatabase', 'db/client.ts')
  const prepare = await take<typeof prepareDatabase>(folder, 'prepareDatabase', 'db/roles.ts')
  const log = createLogger({ level: 'error', clock: systemClock })
  const { url } = await prepare({ ownerUrl, clock: systemClock, log })
  const db = database({ url, clock: systemClock, max: 64 })
  const opened = await open(db)
  for (const { name, work } of workloads) {
    await measure(options, { name: `ledger-${name}`, work: (seconds) => work(opened, seconds) })
  }
  await db.close()
}
