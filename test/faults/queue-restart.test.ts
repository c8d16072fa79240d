import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { startWorker } from '../../jobs/worker.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { budget, chance } from '../support/budget.ts'
import { countEffects, makeEffects } from '../support/effects.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { labour, labours, LEASE_MS } from '../support/labour.ts'
import { type Ending, type OwnPostgres, ownPostgres } from '../support/postgres.ts'
import { until } from '../support/wait.ts'

/** PostgreSQL is stopped, crashed and killed while jobs are enqueued and worked off. */

const ENDINGS: readonly Ending[] = ['SIGINT', 'SIGQUIT', 'SIGKILL']
const RESTARTS = budget(3, 30)
const BATCH = 40
const luck = chance('queue restart')

const { inside, outside } = labours()
let postgres: OwnPostgres
let world: TestKernel
beforeAll(async () => {
  postgres = await ownPostgres()
  const database = await postgres.database()
  await makeEffects(database)
  world = await testKernel({ features: [labour()], database })
}, 60_000)
afterAll(async () => {
  await world.close()
  await postgres.remove()
})

const jobs = async () => {
  const [row] = await world.kernel.db.sql`select count(*)::int as jobs from queue_jobs`
  return row.jobs as number
}

describe('a worker whose database comes and goes', () => {
  test('does everything that was enqueued, once inside, and gets stuck with nothing', async () => {
    const worker = await startWorker(world.kernel, { leaseMs: LEASE_MS })
    const enqueued: string[] = []
    /** Tries that may have counted although their answer was lost. */
    const doubtful = new Set<string>()
    let stopped = false
    let batch = 0
    const enqueue = async () => {
      while (!stopped) {
        const texts = Array.from({ length: BATCH }, (_, n) => `${batch}-${n}`)
        batch++
        const who = { actor: null, request: internalRequest('test') }
        const done = await unitOfWork(world.kernel, who, async (ctx) => {
          await Promise.resolve()
          for (const text of texts) {
            ctx.enqueue(inside, { text: `in-${text}`, ms: luck.below(4) })
            ctx.enqueue(outside, { text: `out-${text}`, ms: luck.below(4) })
          }
        }).then(
          () => true,
          () => false,
        )
        if (done) enqueued.push(...texts)
        else for (const text of texts) doubtful.add(text)
        await Bun.sleep(20)
      }
    }
    const enqueuing = enqueue()
    for (let n = 0; n < RESTARTS; n++) {
      await Bun.sleep(150 + luck.below(150))
      await postgres.end(ENDINGS[n % ENDINGS.length] as Ending)
      await Bun.sleep(luck.below(300))
      await postgres.start()
      const before = enqueued.length
      await until(() => enqueued.length > before, 'it goes on', 10_000)
    }
    stopped = true
    await enqueuing
    await until(async () => (await jobs()) === 0, 'all done', 60_000)
    await worker.stop()
    const effects = await countEffects(world.kernel.db.sql)
    const of = (name: string) => enqueued.map((text) => effects.get(`${name}-${text}`) ?? 0)
    expect(enqueued.length).toBeGreaterThan(RESTARTS * BATCH)
    expect(of('in').filter((count) => count !== 1)).toEqual([])
    expect(of('out').filter((count) => count < 1)).toEqual([])
    // What was not acknowledged has happened wholly or not at all, and no more than once inside.
    for (const text of doubtful) expect(effects.get(`in-${text}`) ?? 1).toBe(1)
    const [row] = await world.kernel.db.sql`select count(*)::int as dead from dead_letters`
    expect(row.dead).toBe(0)
  }, 600_000)
})
