import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createQueues } from '../../jobs/enqueue.ts'
import { createAudit } from '../../src/audit/index.ts'
import { createStepUp } from '../../src/auth/index.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { loadConfig } from '../../src/config.ts'
import type { Emission } from '../../src/kernel/effects.ts'
import { type Executor, OperationExecutor } from '../../src/kernel/execute.ts'
import { createRegistry, type Feature, partsOf, type Registry } from '../../src/kernel/feature.ts'
import { type Given, type Kernel, serviceTable } from '../../src/kernel/kernel.ts'
import { createLimiter } from '../../src/kernel/limits.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { createVault } from '../../src/vault/vault.ts'
import { type TestDatabase, testDatabase } from './database.ts'
import { recordingLog } from './log.ts'
import { CHEAP_PASSWORDS } from './passwords.ts'

/** A kernel without edges: what it would send to sockets is only written down. */
export interface TestKernel {
  readonly kernel: Kernel
  readonly registry: Registry
  readonly executor: Executor
  readonly database: TestDatabase
  readonly log: ReturnType<typeof recordingLog>
  /** Durable events on their way to their streams, in order. */
  readonly emitted: readonly Emission[]
  /** Sessions that were announced as revoked, in order. */
  readonly revoked: readonly string[]
  close(): Promise<void>
}

export interface TestKernelOptions {
  readonly features: readonly Feature[]
  /** More environment variables. */
  readonly env?: Record<string, string>
  readonly clock?: Clock
  /** Services that are to be other than the product's. */
  readonly parts?: readonly Given[]
  /** Share another kernel's database: a second instance of the same product. */
  readonly database?: TestDatabase
}

/** Makes a kernel on a fresh database. */
export async function testKernel(options: TestKernelOptions): Promise<TestKernel> {
  const { features, env = {}, clock = systemClock, parts = CHEAP_PASSWORDS } = options
  const folder = mkdtempSync(join(tmpdir(), 'rialto-kernel-'))
  const database = options.database ?? (await testDatabase())
  const log = recordingLog()
  const revoked: string[] = []
  const emitted: Emission[] = []
  const vault = createVault([new Uint8Array(32)])
  const registry = createRegistry(features)
  const kernel: Kernel = {
    config: loadConfig({
      env: {
        NODE_ENV: 'test',
        DATA_DIR: folder,
        JWT_SECRET: 'a secret of the tests of at least 32 bytes',
        MASTER_ENCRYPTION_KEY: '00'.repeat(32),
        ...env,
      },
      cwd: folder,
    }),
    clock,
    log,
    metrics: createMetrics(),
    db: database.db,
    limiter: createLimiter(clock),
    streams: {
      enqueue: async (_sql, emissions) => void emitted.push(...emissions),
      committed: () => undefined,
      batch: (sql) => ({
        claim: () => undefined,
        async commit(emissions) {
          await sql`commit`
          return emissions.map(() => undefined)
        },
        publish: (emissions) => void emitted.push(...emissions),
        release: () => undefined,
      }),
      page: () => unused('streams.page'),
    },
    audit: createAudit({ db: database.db, clock }),
    queues: createQueues({ clock, vault }),
    vault,
    announcer: {
      announce: () => undefined,
      tell: () => 0,
      revoked: (ids) => void revoked.push(...ids),
    },
    presence: unused('presence'),
    use: serviceTable(() => kernel, [...partsOf(registry), ...parts]),
  }
  return {
    kernel,
    registry,
    executor: new OperationExecutor(kernel, { stepUp: createStepUp(), checksOutputs: true }),
    database,
    log,
    emitted,
    revoked,
    async close() {
      if (options.database === undefined) await database.drop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A part that the test's features have no business with. */
function unused<T extends object>(name: string): T {
  return new Proxy({} as T, {
    get(_target, property) {
      throw new Error(`a test without edges has no ${name}.${String(property)}`)
    },
  })
}
