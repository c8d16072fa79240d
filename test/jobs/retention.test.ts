import { afterAll, beforeAll, expect, test } from 'bun:test'
import { schedule } from '../../jobs/schedule.ts'
import { scheduling } from '../../jobs/scheduler.ts'
import { uuidv7 } from '../../src/base/ids.ts'
import { features } from '../../src/features.ts'
import { retention } from '../../src/kernel/retention.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'

let world: TestKernel
beforeAll(async () => {
  world = await testKernel({ features: [...features, scheduling(schedule)] })
})
afterAll(() => world.close())

const DAY_MS = 86_400_000

async function bury(ageDays: number): Promise<void> {
  const at = new Date(Date.now() - ageDays * DAY_MS)
  await world.kernel.db.sql`
    insert into dead_letters
      (id, queue, payload, attempts, error, worker_id, created_at, died_at)
    values (${uuidv7()}, 'q', '{}', 1, 'e', ${uuidv7()}, ${at}, ${at})`
}

test('retention says beforehand what it then does, in numbers, and keeps the rest', async () => {
  const forget = retention('test.forget', 'Forgets', [
    { table: 'dead_letters', column: 'died_at', keptMs: 30 * DAY_MS, where: `queue = 'q'` },
  ])
  for (const age of [0, 29, 31, 90]) await bury(age)
  expect(await forget.dryRun(world.kernel)).toEqual({ dead_letters: 2 })
  expect(await forget.dryRun(world.kernel)).toEqual({ dead_letters: 2 })
  expect(await forget.run(world.kernel)).toEqual({ dead_letters: 2 })
  expect(await forget.run(world.kernel)).toEqual({ dead_letters: 0 })
  const [row] = await world.kernel.db.sql`select count(*)::int as left from dead_letters`
  expect(row.left).toBe(2)
})

test('retention stops when told to', async () => {
  const forget = retention('test.forget', 'Forgets', [
    { table: 'dead_letters', column: 'died_at', keptMs: 0 },
  ])
  expect(forget.run(world.kernel, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
  await Bun.sleep(1)
})

test('the latest time of a scheduled job is kept, however old: else it would be new', async () => {
  const { sql } = world.kernel.db
  for (const days of [40, 50, 60]) {
    await sql`
      insert into job_periods (job, period, state, inserted_at)
      values ('rare', now() - ${days} * interval '1 day', 'enqueued', now())`
  }
  const { job } = schedule.find(({ job: { name } }) => name === 'queues.forget_old') as never as {
    job: (typeof schedule)[number]['job']
  }
  expect(await job.dryRun?.(world.kernel)).toMatchObject({ job_periods: 2 })
  expect(await job.run(world.kernel)).toMatchObject({ job_periods: 2 })
  const [row] = await sql`select count(*)::int as left from job_periods where job = 'rare'`
  expect(row.left).toBe(1)
})

test('every job of the schedule runs on a fresh database, and says what it would do', async () => {
  for (const { job } of schedule) {
    for (const count of Object.values((await job.dryRun?.(world.kernel)) ?? {})) {
      expect(count).toBeNumber()
    }
    await job.run(world.kernel)
  }
})
