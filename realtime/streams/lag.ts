import type { Database } from '../../db/client.ts'
import type { Clock, Timer } from '../../src/base/clock.ts'
import type { Logger } from '../../src/observe/log.ts'
import type { Metrics } from '../../src/observe/metrics.ts'

const SAMPLE_MS = 5_000
/** Rows counted at most: "more than this" is all that an alert needs to know. */
const COUNTED_MAX = 10_000

/** Measures how far the streams are behind the transactions, as metrics; cancel it at the end. */
export function observeOutbox(parts: {
  readonly db: Database
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: Metrics
}): Timer {
  const { db, clock, log, metrics } = parts
  const age = metrics.gauge('stream_lag_seconds', 'Age of the oldest event without an offset')
  const rows = metrics.gauge('stream_outbox_rows', `Events without an offset, up to ${COUNTED_MAX}`)
  const sample = async () => {
    const [row] = await db.sql<{ age: number; waiting: number }[]>`
      select coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as age,
        count(*)::int as waiting
      from (select created_at from outbox order by id limit ${COUNTED_MAX}) oldest`
    age.labels().set(row?.age ?? 0)
    rows.labels().set(row?.waiting ?? 0)
  }
  return clock.setInterval(() => {
    sample().catch((error: unknown) => log.debug('stream lag not measured', { error }))
  }, SAMPLE_MS)
}
