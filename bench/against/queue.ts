import { SQL } from 'bun'
import type { startWorker } from '../../jobs/worker.ts'
import type { offlineKernel } from '../../scripts/offline-kernel.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { t } from '../../src/base/schema.ts'
import type { loadConfig } from '../../src/config.ts'
import type { internalRequest } from '../../src/kernel/access.ts'
import type { feature } from '../../src/kernel/feature.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'
import type { Queue, queue } from '../../src/kernel/queue.ts'
import type { unitOfWork } from '../../src/kernel/write.ts'
import { createLogger } from '../../src/observe/log.ts'
import { take } from './modules.ts'
import { measure, repeat, type TurnOptions } from './workload.ts'

/** Jobs enqueued by one transaction, and transactions that enqueue at the same time. */
const AT_ONCE = 100
const ENQUEUERS = 4
/** So many may wait. */
const BACKLOG = 2_000

let enqueued = 0
let ended = 0

async function queuesOf(folder: string): Promise<readonly Queue[]> {
  const define = await take<typeof queue>(folder, 'queue', 'src/kernel/queue.ts')
  const schema = 'src/base/schema.ts'
  const types = await take<typeof t>(folder, 't', schema, 'src/kernel/schema.ts')
  const common = {
    description: 'Work of the bench',
    payload: types.Object({ text: types.String() }),
    concurrency: 8,
    deadlineMs: 30_000,
    triesMax: 3,
    backoffMs: 1_000,
  }
  return [
    define('bench.inside', {
      ...common,
      async handle({ tx, afterCommit }, { text }) {
        await tx.sql`insert into bench_effects (text) values (${text})`
        afterCommit(() => ended++)
      },
    }),
    define('bench.outside', {
      ...common,
      async perform({ kernel }, { text }) {
        await kernel.db.sql`insert into bench_effects (text) values (${text})`
        ended++
      },
    }),
    define('bench.empty', {
      ...common,
      async perform() {
        await Promise.resolve()
        ended++
      },
    }),
  ] as unknown as readonly Queue[]
}

/** Enqueues for a while with a worker beside, and waits for the last end. */
async function workOff(folder: string, kernel: Kernel, line: Queue, seconds: number) {
  const start = await take<typeof startWorker>(folder, 'startWorker', 'jobs/worker.ts')
  const before = 'src/kernel/unit-of-work.ts'
  const write = await take<typeof unitOfWork>(folder, 'unitOfWork', 'src/kernel/write.ts', before)
  const asked = 'src/kernel/access.ts'
  const request = await take<typeof internalRequest>(folder, 'internalRequest', asked, before)
  const who = { actor: null, request: request('bench') }
  enqueued = ended = 0
  const worker = await start(kernel)
  await repeat(ENQUEUERS, seconds, async () => {
    if (enqueued - ended > BACKLOG) return await Bun.sleep(1)
    enqueued += AT_ONCE
    await write(kernel, who, async (ctx) => {
      await Promise.resolve()
      for (let n = 0; n < AT_ONCE; n++) ctx.enqueue(line as never, { text: `${n}` } as never)
    })
  })
  while (ended < enqueued) await Bun.sleep(1)
  await worker.stop()
  return ended
}

/** Jobs of a checkout's queue: with an effect inside their transaction, outside, and none. */
export async function queues(options: TurnOptions): Promise<void> {
  const { folder, databaseUrl, dataDir } = options
  const config = await take<typeof loadConfig>(folder, 'loadConfig', 'src/config.ts')
  const define = await take<typeof feature>(folder, 'feature', 'src/kernel/feature.ts')
  const tool = 'scripts/offline-kernel.ts'
  const offline = await take<typeof offlineKernel>(folder, 'offlineKernel', tool)
  const env = {
    NODE_ENV: 'test',
    DATA_DIR: dataDir,
    DATABASE_URL: databaseUrl,
    JWT_SECRET: 'only-for-the-bench-0123456789abcdef',
    MASTER_ENCRYPTION_KEY: '00'.repeat(32),
  }
  const log = createLogger({ level: 'error', clock: systemClock })
  const lines = await queuesOf(folder)
  const features = [define({ name: 'bench', queues: lines })]
  const { kernel, stop } = await offline(config({ env, cwd: dataDir }), log, [], features)
  const owner = new SQL({ url: databaseUrl, max: 1 })
  await owner.unsafe('create table bench_effects (text text); grant all on bench_effects to public')
  await owner.close()
  for (const line of lines) {
    const name = line.name.replace('bench.', 'queue-')
    await measure(options, { name, work: (seconds) => workOff(folder, kernel, line, seconds) })
  }
  await stop()
}
