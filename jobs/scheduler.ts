import { uuidv7 } from '../src/base/ids.ts'
import { internalRequest } from '../src/kernel/access.ts'
import { type Feature, feature } from '../src/kernel/feature.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { Loop } from '../src/kernel/loop.ts'
import { QueueCatalog } from '../src/kernel/queue.ts'
import { unitOfWork } from '../src/kernel/write.ts'
import { type Times, timesOf } from './periods.ts'
import type { Scheduled } from './schedule.ts'
import { observeRuns, scheduleQueue, type ScheduleQueue } from './scheduled-run.ts'

/** Sees to it that each job of the schedule is enqueued once for each of its times. */
export interface Scheduler {
  /** Looks now whether a time has come. Resolves when what is due has been enqueued. */
  look(): Promise<void>
  stop(): Promise<void>
}

/** The schedule's jobs as durable work: its queue, in a feature for the registry. */
export function scheduling(schedule: readonly Scheduled[]): Feature {
  return feature({
    name: 'schedule',
    queues: [scheduleQueue(schedule)],
  })
}

/** The longest that nobody looks, in ms: bounds what a jump of the database's clock can hide. */
const LOOK_MS_MAX = 60_000
/** Later than the time itself, so that one look is enough, in ms. */
const LATE_MS = 5
/** How long until the next look while the database is away, in ms. */
const AWAY_MS = 1_000
/** Only one instance at a time notes times: else two could both take a job for a new one. */
const NOTING_LOCK = 7_214_930_552

interface Entry {
  readonly name: string
  readonly times: Times
  /** The latest time that is known to be seen to. */
  seenMs: number | undefined
}

/**
 * Starts the scheduler of an instance. Every instance runs one, and no clock but the database's is
 * asked for the time: whoever first inserts (job, time) has enqueued the job in the same
 * transaction, so that no tick is lost in a crash and none is done twice. Of the times that passed
 * while nobody looked, the latest counts.
 * @param now the database's time in ms; tests make it jump
 */
export function startScheduler(
  kernel: Kernel,
  schedule: readonly Scheduled[],
  now: () => Promise<number> = () => databaseTime(kernel),
): Scheduler {
  const { clock, log } = kernel
  const queue = kernel.use(QueueCatalog).get('schedule') as ScheduleQueue | undefined
  if (queue === undefined) throw new Error('there is no queue of the schedule')
  const entries = schedule.map(({ job, at }): Entry => {
    return { name: job.name, times: timesOf(at), seenMs: undefined }
  })
  const observed = observeRuns(kernel)

  const look = async () => {
    const nowMs = await now()
    for (const entry of entries) {
      const latestMs = entry.times.latest(nowMs)
      if (latestMs === undefined || latestMs === entry.seenMs) continue
      await see(kernel, queue, entry.name, latestMs)
      entry.seenMs = latestMs
    }
    await observed.refresh()
    const next = entries.map(({ times }) => times.next(nowMs) ?? Infinity)
    return Math.min(Math.max(Math.min(...next) - nowMs, 0) + LATE_MS, LOOK_MS_MAX)
  }
  const loop = new Loop({
    clock,
    round: look,
    failed: (error) => log.warn('the schedule was not looked at, trying again', { error }),
    retryMs: AWAY_MS,
  })
  loop.kick()
  return {
    async look() {
      loop.kick()
      await loop.idle()
    },
    stop: () => loop.stop(),
  }
}

async function databaseTime({ db }: Kernel): Promise<number> {
  const [row] = await db.sql`select extract(epoch from clock_timestamp())::float8 * 1000 as ms`
  return row.ms as number
}

/** Enqueues a job for one of its times, unless somebody has. */
async function see(kernel: Kernel, queue: ScheduleQueue, job: string, timeMs: number) {
  const period = new Date(timeMs)
  const who = { actor: null, request: internalRequest(uuidv7()) }
  await unitOfWork(kernel, who, async ({ tx, enqueue }) => {
    await tx.sql`select pg_advisory_xact_lock(${NOTING_LOCK})`
    // A job without any time yet is new: it has missed nothing, and begins with its next time.
    const [inserted] = await tx.sql`
      insert into job_periods (job, period, state, inserted_at)
      select ${job}, ${period}, case when exists (select from job_periods where job = ${job})
        then 'enqueued' else 'noted' end, clock_timestamp()
      on conflict do nothing returning state`
    if (inserted?.state !== 'enqueued') return
    enqueue(queue, { job, period: period.toISOString() }, { key: job })
  })
}
