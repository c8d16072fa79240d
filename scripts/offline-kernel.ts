import { join } from 'node:path'
import { openDatabase } from '../db/client.ts'
import { startEmbeddedPostgres } from '../db/embedded.ts'
import { prepareDatabase } from '../db/roles.ts'
import { schedule as timetable, type Scheduled } from '../jobs/schedule.ts'
import { scheduling } from '../jobs/scheduler.ts'
import { insertOutbox } from '../realtime/streams/outbox.ts'
import { systemClock } from '../src/base/clock.ts'
import { type Config, loadConfig } from '../src/config.ts'
import { features as product } from '../src/features.ts'
import { createRegistry, type Feature } from '../src/kernel/feature.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import type { Logger } from '../src/observe/log.ts'
import { createMetrics } from '../src/observe/metrics.ts'
import { createKernel, type KernelParts } from '../src/server.ts'

/** A kernel on the configured database, for tools that work while no server need run. */
export interface OfflineKernel {
  readonly kernel: Kernel
  stop(): Promise<void>
}

/** The configuration of this product, from the environment and `.env`. */
export function productConfig(): Config {
  return loadConfig({ features: product.map(({ name }) => name) })
}

/**
 * Opens the configured database, brought up to date as a server's start would, without edges:
 * what a tool emits or enqueues is committed, and a server passes it on.
 */
export async function offlineKernel(
  config: Config,
  log: Logger,
  schedule: readonly Scheduled[] = timetable,
  features: readonly Feature[] = product,
): Promise<OfflineKernel> {
  const clock = systemClock
  const embedded =
    config.database.url === undefined
      ? await startEmbeddedPostgres({ dataDir: join(config.dataDir, 'postgres') })
      : undefined
  const stopEmbedded = async () => await embedded?.stop()
  try {
    const ownerUrl = (config.database.url ?? embedded?.ownerUrl) as string
    const { serverUrl, singleRole } = config.database
    const { url } = await prepareDatabase({ ownerUrl, serverUrl, singleRole, clock, log })
    const db = openDatabase({ url, clock })
    const metrics = createMetrics()
    const registry = createRegistry([...features, scheduling(schedule)])
    const kernel = createKernel({ config, log }, { clock, db, registry, metrics, core: nobody })
    return {
      kernel,
      async stop() {
        await db.close()
        await stopEmbedded()
      },
    }
  } catch (error) {
    await stopEmbedded()
    throw error
  }
}

/** Nobody is connected here. */
const nobody: KernelParts['core'] = {
  streams: {
    async enqueue(sql, emissions) {
      await insertOutbox(sql, emissions)
    },
    // The writers of the servers look for rows that nobody has announced.
    committed: () => undefined,
    batch() {
      throw new Error('batches are for servers')
    },
    page() {
      throw new Error('streams are followed by servers')
    },
  },
  announcer: { announce: () => undefined, tell: () => 0, revoked: () => undefined },
  presence: {
    connections: () => 0,
    status: () => 'offline',
    setStatus: () => undefined,
    onlineCount: () => 0,
  },
}
