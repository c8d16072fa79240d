import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { timesOf } from '../../jobs/periods.ts'
import { schedule } from '../../jobs/schedule.ts'
import { scheduling, startScheduler } from '../../jobs/scheduler.ts'
import { testClock } from '../../src/base/clock.ts'
import { features } from '../../src/features.ts'
import type { Job } from '../../src/kernel/job.ts'
import { queuesLater, workOff } from '../support/jobs.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { until } from '../support/wait.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const NOON_MS = Date.UTC(2026, 6, 1, 12)

/** What the job of the tests does. */
let doing: (signal?: AbortSignal) => Promise<void>
const job: Job = {
  name: 'test.sweep',
  description: 'Sweeps',
  run: async (_kernel, signal) => await doing(signal),
}
const timetable = [{ job, at: '*/10 * * * *' }]

let world: TestKernel
// A frozen clock: no timer looks by itself, and nobody asks it for the time.
const clock = testClock()
beforeAll(async () => {
  world = await testKernel({ features: [scheduling(timetable)], clock })
})
afterEach(async () => {
  for (const table of ['queue_jobs', 'dead_letters', 'job_periods']) {
    await world.kernel.db.sql.unsafe(`delete from ${table}`)
  }
})
afterAll(() => world.close())

/** The time of the database, which jumps as a test says. */
let databaseMs = NOON_MS
const jump = (ms: number) => (databaseMs += ms)

/** One instance after its start, at the time of the database. */
async function instance() {
  const scheduler = startScheduler(world.kernel, timetable, () => Promise.resolve(databaseMs))
  await scheduler.look()
  return scheduler
}
/** The times that were enqueued, and how many jobs wait for them. */
async function enqueued(): Promise<{ periods: string[]; jobs: number }> {
  const periods = await world.kernel.db.sql<{ period: Date }[]>`
    select period from job_periods where state = 'enqueued' order by period`
  const [row] = await world.kernel.db.sql`select count(*)::int as jobs from queue_jobs`
  const texts = periods.map(({ period }) => period.toISOString().slice(11, 16))
  return { periods: texts, jobs: row.jobs as number }
}

describe('the times of a pattern', () => {
  const cases: [pattern: string, now: string, latest: string, next: string][] = [
    ['*/10 * * * *', '2026-07-01T12:10:00.000', '2026-07-01T12:10', '2026-07-01T12:20'],
    ['*/10 * * * *', '2026-07-01T12:09:59.999', '2026-07-01T12:00', '2026-07-01T12:10'],
    ['*/10 * * * *', '2026-07-01T12:10:00.001', '2026-07-01T12:10', '2026-07-01T12:20'],
    ['40 3 * * *', '2026-07-01T03:39:00.000', '2026-06-30T03:40', '2026-07-01T03:40'],
    ['0 0 1 * *', '2026-03-31T12:00:00.000', '2026-03-01T00:00', '2026-04-01T00:00'],
    // Europe's clocks go forward at 01:00 UTC on 29 March and back on 25 October: UTC's do not.
    ['30 * * * *', '2026-03-29T01:45:00.000', '2026-03-29T01:30', '2026-03-29T02:30'],
    ['30 * * * *', '2026-10-25T01:45:00.000', '2026-10-25T01:30', '2026-10-25T02:30'],
    ['0 0 29 2 *', '2026-07-01T00:00:00.000', '2024-02-29T00:00', '2028-02-29T00:00'],
  ]
  test.each(cases)('%s at %s', (pattern, now, latest, next) => {
    const times = timesOf(pattern)
    const text = (ms = Number.NaN) => new Date(ms).toISOString().slice(0, 16)
    expect(text(times.latest(Date.parse(`${now}Z`)))).toBe(latest)
    expect(text(times.next(Date.parse(`${now}Z`)))).toBe(next)
  })
  test('are UTC whatever the machine says', () => {
    const zone = process.env['TZ']
    process.env['TZ'] = 'America/New_York'
    expect(timesOf('0 3 * * *').latest(NOON_MS)).toBe(Date.UTC(2026, 6, 1, 3))
    if (zone === undefined) delete process.env['TZ']
    else process.env['TZ'] = zone
  })
  test('of what is none are refused', () => {
    expect(() => timesOf('61 * * * *')).toThrow()
    expect(() => timesOf('whenever')).toThrow()
  })
})

describe('a tick', () => {
  test('enqueues its job once, however often it is looked at', async () => {
    databaseMs = NOON_MS + 1_000
    const one = await instance()
    expect(await enqueued()).toEqual({ periods: [], jobs: 0 })
    jump(10 * MINUTE_MS)
    await one.look()
    await one.look()
    await one.stop()
    const again = await instance()
    await again.stop()
    expect(await enqueued()).toEqual({ periods: ['12:10'], jobs: 1 })
  })

  test('of three instances at once is one', async () => {
    databaseMs = NOON_MS
    const three = await Promise.all([instance(), instance(), instance()])
    let runs = 0
    doing = async () => void runs++
    for (let tick = 0; tick < 6; tick++) {
      jump(10 * MINUTE_MS)
      await Promise.all(three.map((one) => one.look()))
      await workOff(world.kernel)
    }
    await Promise.all(three.map((one) => one.stop()))
    const ticks = ['12:10', '12:20', '12:30', '12:40', '12:50', '13:00']
    expect((await enqueued()).periods).toEqual(ticks)
    expect(runs).toBe(6)
  })

  test('that nobody saw is made up for at the start; of many, the latest', async () => {
    databaseMs = NOON_MS
    await (await instance()).stop()
    jump(35 * MINUTE_MS)
    await (await instance()).stop()
    expect(await enqueued()).toEqual({ periods: ['12:30'], jobs: 1 })
  })

  test('from before a job was known is not one that it has missed', async () => {
    databaseMs = NOON_MS + 5 * MINUTE_MS
    await Promise.all([instance(), instance()].map(async (one) => (await one).stop()))
    expect(await enqueued()).toEqual({ periods: [], jobs: 0 })
    jump(5 * MINUTE_MS)
    await (await instance()).stop()
    expect((await enqueued()).periods).toEqual(['12:10'])
  })

  test('is not repeated when the clock jumps back an hour; the next comes', async () => {
    databaseMs = NOON_MS
    const one = await instance()
    for (let tick = 0; tick < 3; tick++) {
      jump(10 * MINUTE_MS)
      await one.look()
    }
    const before = await enqueued()
    expect(before.periods).toEqual(['12:10', '12:20', '12:30'])
    jump(-HOUR_MS)
    await one.look()
    await (await instance()).stop()
    // 11:30 is of before the job was known; it is new to the table, and harmless.
    jump(40 * MINUTE_MS)
    await one.look()
    const replayed = (await enqueued()).periods.filter((time) => time >= '12:00')
    expect(replayed).toEqual(before.periods)
    jump(30 * MINUTE_MS)
    await one.look()
    await one.stop()
    expect((await enqueued()).periods).toContain('12:40')
  })

  test('when the clock jumps ahead an hour is the latest one, once', async () => {
    databaseMs = NOON_MS
    const one = await instance()
    jump(HOUR_MS)
    await one.look()
    await one.look()
    await one.stop()
    expect((await enqueued()).periods).toEqual(['13:00'])
  })

  test('does not ask the clock of the instance', async () => {
    databaseMs = NOON_MS
    const one = await instance()
    clock.jump(-HOUR_MS)
    jump(10 * MINUTE_MS)
    await one.look()
    clock.jump(3 * HOUR_MS)
    await one.look()
    await one.stop()
    clock.jump(-2 * HOUR_MS)
    expect((await enqueued()).periods).toEqual(['12:10'])
  })
})

describe('a run', () => {
  const tick = async () => {
    databaseMs = NOON_MS
    const one = await instance()
    jump(10 * MINUTE_MS)
    await one.look()
    await one.stop()
  }

  test('that fails is tried again', async () => {
    let runs = 0
    doing = async () => {
      if (++runs === 1) throw new Error('no')
    }
    await tick()
    await workOff(world.kernel)
    expect(runs).toBe(1)
    await queuesLater(world.kernel, MINUTE_MS)
    await workOff(world.kernel)
    expect(runs).toBe(2)
    const [row] = await world.kernel.db.sql`
      select count(*)::int as done from job_periods where done_at is not null`
    expect(row.done).toBe(1)
    const metrics = world.kernel.metrics.render()
    expect(metrics).toMatch(/job_runs_total\{job="test.sweep",outcome="ok"\} \d/)
    expect(metrics).toContain('job_last_success_timestamp_seconds{job="test.sweep"}')
  })

  test('does not overlap with the next one here, which waits', async () => {
    const gate = Promise.withResolvers<void>()
    let now = 0
    let most = 0
    let runs = 0
    doing = async () => {
      most = Math.max(most, ++now)
      if (++runs === 1) await gate.promise
      now--
    }
    await tick()
    const off = workOff(world.kernel)
    await until(() => runs === 1, 'the first runs')
    const one = await instance()
    jump(10 * MINUTE_MS)
    await one.look()
    await one.stop()
    expect((await enqueued()).jobs).toBe(2)
    await until(async () => {
      const [row] = await world.kernel.db.sql`
        select count(*)::int as later from queue_jobs where due_at > now()`
      return row.later === 1
    }, 'the second is put off')
    gate.resolve()
    await off
    await queuesLater(world.kernel, MINUTE_MS)
    await workOff(world.kernel)
    expect({ runs, most }).toEqual({ runs: 2, most: 1 })
  })
})

describe('the schedule', () => {
  test('has every job of a feature, each once, with a pattern that can be read', () => {
    const names = schedule.map(({ job: { name } }) => name)
    expect(new Set(names).size).toBe(names.length)
    for (const { at } of schedule) expect(timesOf(at).next(NOON_MS)).toBeNumber()
    const theirs = features.flatMap(({ jobs }) => jobs.map(({ name }) => name))
    expect(theirs.filter((name) => !names.includes(name))).toEqual([])
  })
  test('has jobs that can say beforehand what they would do', () => {
    expect(schedule.filter(({ job: { dryRun } }) => dryRun === undefined)).toEqual([])
  })
})
