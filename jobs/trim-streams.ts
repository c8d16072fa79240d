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
  async run({ db }) {
    for (;;) {
      const removed = await db.sql`
        delete from stream_events where ctid = any(array(
          select ctid from stream_events
          where created_at < now() - make_interval(days => ${STREAM_RETENTION.days})
          limit ${ROWS_AT_ONCE}))`
      if (removed.count < ROWS_AT_ONCE) break
    }
    for (;;) {
      const removed = await db.sql`
        delete from stream_events where (head, position) in (
          select e.head, e.position from stream_heads h
          join stream_events e
            on e.head = h.id and e.position <= h.top - ${STREAM_RETENTION.eventsMax}
          where h.top > ${STREAM_RETENTION.eventsMax}
          limit ${ROWS_AT_ONCE})`
      if (removed.count < ROWS_AT_ONCE) break
    }
  },
}
