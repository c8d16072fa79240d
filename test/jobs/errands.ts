import type { SQL } from 'bun'
import { startWorker, type Worker, type WorkerOptions } from '../../jobs/worker.ts'
import { t } from '../../src/base/schema.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import type { EnqueueOptions } from '../../src/kernel/effects.ts'
import { feature } from '../../src/kernel/feature.ts'
import { type JobContext, type PerformContext, queue } from '../../src/kernel/queue.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { makeEffects } from '../support/effects.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { until } from '../support/wait.ts'

/** Queues whose handlers do what a test says, and a table for their effects. */

type Do<C> = (ctx: C, text: string) => Promise<void>

/** What the handlers do. */
export const doing: { handle: Do<JobContext>; perform: Do<PerformContext> } = {
  handle: () => Promise.resolve(),
  perform: () => Promise.resolve(),
}

const common = {
  description: 'An errand of the tests',
  payload: t.Object({ text: t.String() }),
  concurrency: 4,
  deadlineMs: 30_000,
  triesMax: 3,
  backoffMs: 60_000,
}
const handle = (ctx: JobContext, { text }: { text: string }) => doing.handle(ctx, text)
const perform = (ctx: PerformContext, { text }: { text: string }) => doing.perform(ctx, text)

export const noted = queue('test.noted', { ...common, handle })
export const told = queue('test.told', { ...common, perform })
export const hasty = queue('test.hasty', { ...common, deadlineMs: 100, handle })
export const stubborn = queue('test.stubborn', {
  ...common,
  concurrency: 1,
  deadlineMs: 100,
  perform,
})
export const secret = queue('test.secret', { ...common, sealed: true, triesMax: 1, perform })
export const wide = queue('test.wide', { ...common, concurrency: 100, handle })
export type Line = typeof noted

const errands = feature({
  name: 'errands',
  queues: [noted, told, hasty, stubborn, secret, wide],
})

/** A row of `dead_letters`. */
export interface Dead {
  readonly id: string
  readonly queue: string
  readonly payload: Uint8Array
  readonly attempts: number
  readonly error: string
}

/** A kernel with the errands, and what tests ask of it. */
export class Errands {
  private constructor(readonly world: TestKernel) {}

  static async start(): Promise<Errands> {
    const world = await testKernel({ features: [errands] })
    await makeEffects(world.database)
    return new Errands(world)
  }

  get kernel() {
    return this.world.kernel
  }
  get sql() {
    return this.world.kernel.db.sql
  }

  /** Enqueues in a unit of work of its own, after `before` in the same transaction. */
  async enqueue(
    line: Line,
    texts: readonly string[],
    options: EnqueueOptions = {},
    before: (sql: SQL) => Promise<unknown> = () => Promise.resolve(),
  ): Promise<void> {
    const who = { actor: null, request: internalRequest('test') }
    await unitOfWork(this.kernel, who, async (ctx) => {
      await before(ctx.tx.sql)
      for (const text of texts) ctx.enqueue(line, { text }, options)
    })
  }

  /** Runs a worker while `work` goes on. */
  async working<T>(work: (worker: Worker) => Promise<T>, options: WorkerOptions = {}): Promise<T> {
    const worker = await startWorker(this.kernel, { drainMs: 500, ...options })
    try {
      return await work(worker)
    } finally {
      await worker.stop()
    }
  }

  async waiting(): Promise<number> {
    const [row] = await this.sql`select count(*)::int as jobs from queue_jobs`
    return row.jobs as number
  }

  /** Waits until no job is left. */
  async done(timeoutMs?: number): Promise<void> {
    await until(async () => (await this.waiting()) === 0, 'no job is left', timeoutMs)
  }

  async jobs(): Promise<{ attempts: number; error: string | null; due_ms: number }[]> {
    const rows = await this.sql`
      select attempts, error, extract(epoch from due_at - now())::float8 * 1000 as due_ms
      from queue_jobs order by id`
    return [...rows]
  }

  async dead(): Promise<Dead[]> {
    return [...(await this.sql`select * from dead_letters order by died_at, id`)]
  }

  async effects(): Promise<string[]> {
    const rows = await this.sql<{ text: string }[]>`select text from effects order by at, text`
    return rows.map(({ text }) => text)
  }

  /** Nothing of the last test remains. */
  async clear(): Promise<void> {
    doing.handle = () => Promise.resolve()
    doing.perform = () => Promise.resolve()
    for (const table of ['queue_jobs', 'dead_letters', 'queue_workers', 'effects']) {
      await this.sql.unsafe(`delete from ${table}`)
    }
  }
}
