import { retention } from '../src/kernel/retention.ts'

const HOUR_MS = 3_600_000

/** An empty bucket is as none. The hour is for clocks that differ from the database's. */
export const forgetLimits = retention(
  'limits.forget',
  'Deletes counts of security limits that have run out',
  [{ table: 'security_limits', column: 'empty_at', keptMs: HOUR_MS }],
)
