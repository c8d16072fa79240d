import type { Job } from '../src/kernel/job.ts'

/** How long events stay recoverable, and how many of one channel at most. */
const STREAM_RETENTION = { days: 3, eventsMax: 10_000 }

/** Rows removed in one statement, so that no lock is held for long. */
const ROWS_AT_ONCE = 5_000

/** Removes stream events that nobody recovers any more; who is further behind starts anew. */
export const trimStreams: Job = {
  name: 'streams.trim',
  description: `Removes stream events older than ${STREAM_RETENTION.days} days, and the oldest of
    channels that hold more than ${STREAM_RETENTION.eventsMax}`,
  async run({ db }, signal) {
    const old = await inSteps(signal, () => {
      return db.sql`
        delete from stream_events where ctid = any(array(
          select ctid from stream_events
          where created_at < now() - make_interval(days => ${STREAM_RETENTION.days})
          limit ${ROWS_AT_ONCE}))`
    })
    const surplus = await inSteps(signal, () => {
      return db.sql`
        delete from stream_events where (head, position) in (
          select e.head, e.position from stream_heads h
          join stream_events e
            on e.head = h.id and e.position <= h.top - ${STREAM_RETENTION.eventsMax}
          where h.top > ${STREAM_RETENTION.eventsMax}
          limit ${ROWS_AT_ONCE})`
    })
    return { old_events: old, surplus_events: surplus }
  },
  async dryRun({ db }) {
    const [row] = await db.sql`
      select count(*) filter (where old)::int as old,
        count(*) filter (where not old)::int as surplus
      from (
        select created_at < now() - make_interval(days => ${STREAM_RETENTION.days}) as old
        from stream_events e join stream_heads h on h.id = e.head
        where e.created_at < now() - make_interval(days => ${STREAM_RETENTION.days})
          or e.position <= h.top - ${STREAM_RETENTION.eventsMax}) event`
    return { old_events: row.old as number, surplus_events: row.surplus as number }
  },
}

/** Repeats a statement that removes some rows until none are left; returns how many there were. */
async function inSteps(
  signal: AbortSignal | undefined,
  step: () => Promise<{ readonly count: number }>,
): Promise<number> {
  let removed = 0
  for (;;) {
    signal?.throwIfAborted()
    const { count } = await step()
    removed += count
    if (count < ROWS_AT_ONCE) return removed
  }
}
