import type { Database } from '../../db/client.ts'
import { t } from '../../src/base/schema.ts'
import { feature, type Feature } from '../../src/kernel/feature.ts'
import { queue } from '../../src/kernel/queue.ts'

/** Queues for workers that are killed, and ways of working that do not survive it. */

/** Short, so that a test need not wait long for what was lost. */
export const LEASE_MS = 400

/** As it is done, or as one might think that it could be done. */
export type Way = 'worker' | 'done-first' | 'effect-first'

const Work = t.Object({
  text: t.String(),
  /** How long it takes, in ms. */
  ms: t.Number(),
  /** Says when it has begun. */
  tell: t.Optional(t.Boolean()),
  /** Ends with its process. */
  fatal: t.Optional(t.Boolean()),
})
type Work = typeof Work.static

const common = {
  description: 'Labour of the tests',
  payload: Work,
  concurrency: 6,
  deadlineMs: 60_000,
  // Those that are killed by chance must not run out of tries.
  triesMax: 200,
  backoffMs: 20,
}

/** The queues of one process. @param say tells the parent */
export function labours(say: (value: unknown) => void = () => undefined) {
  const toil = async ({ text, ms, tell, fatal }: Work) => {
    if (tell === true) say({ begun: text })
    await Bun.sleep(ms)
    if (fatal === true) process.kill(process.pid, 'SIGKILL')
  }
  /** The effect is in the transaction in which the job ends. */
  const inside = queue('labour.inside', {
    ...common,
    async handle({ tx }, work) {
      await tx.sql`insert into effects (text) values (${work.text})`
      await toil(work)
    },
  })
  /** The effect is in another transaction, as if it were in another system. */
  const outside = queue('labour.outside', {
    ...common,
    async perform({ kernel }, work) {
      await toil(work)
      await kernel.db.sql`insert into effects (text) values (${work.text})`
    },
  })
  const fragile = queue('labour.fragile', {
    ...common,
    triesMax: 3,
    async perform({ kernel }, work) {
      await toil(work)
      await kernel.db.sql`insert into effects (text) values (${work.text})`
    },
  })
  return { inside, outside, fragile }
}

/** The feature of these queues. */
export const labour = (say?: (value: unknown) => void): Feature =>
  feature({ name: 'labour', queues: Object.values(labours(say)) })

/** Works the same jobs off in an order that looks right; for one process at a time. */
export function workNaively({ sql }: Database, way: Exclude<Way, 'worker'>): void {
  const busy = new Set<string>()
  const first = () =>
    way === 'done-first'
      ? sql`delete from queue_jobs where id = (
          select id from queue_jobs order by id limit 1 for update skip locked)
          returning id, convert_from(payload, 'UTF8')::json as work`
      : sql`select id, convert_from(payload, 'UTF8')::json as work from queue_jobs
          where id <> all(${`{${[...busy].join(',')}}`}::text::uuid[]) order by id limit 1`
  const work = async () => {
    for (;;) {
      const [job] = (await first()) as { id: string; work: Work }[]
      if (job === undefined || busy.has(job.id)) await Bun.sleep(5)
      else {
        busy.add(job.id)
        await Bun.sleep(job.work.ms)
        await sql`insert into effects (text) values (${job.work.text})`
        await Bun.sleep(job.work.ms)
        if (way === 'effect-first') await sql`delete from queue_jobs where id = ${job.id}`
      }
    }
  }
  for (let n = 0; n < common.concurrency; n++) void work()
}
