import type { Job, JobReport } from './job.ts'
import type { Kernel } from './kernel.ts'

/** Rows of one table that nobody needs any more. Names are ours, never input. */
export interface RetentionRule {
  readonly table: string
  /** The moment from which `keptMs` count. */
  readonly column: string
  readonly keptMs: number
  /** A further condition, in SQL. */
  readonly where?: string
}

/** Rows removed in one statement, so that no lock is held for long. */
const ROWS_AT_ONCE = 5_000

/**
 * A job that deletes old rows in small steps, and can say beforehand how many there are. Its report
 * names tables: `{ tickets: 12 }`.
 *
 * @example
 * export const forgetDeliveries = retention('webhooks.forget', 'Deletes old deliveries', [
 *   { table: 'deliveries', column: 'created_at', keptMs: 30 * DAY_MS },
 * ])
 */
export function retention(
  name: string,
  description: string,
  rules: readonly RetentionRule[],
): Job & Required<Pick<Job, 'dryRun'>> {
  return {
    name,
    description,
    run: (kernel, signal) =>
      report(rules, async (rule) => {
        let removed = 0
        for (;;) {
          signal?.throwIfAborted()
          const step = await kernel.db.sql.unsafe(
            `delete from ${rule.table} where ctid = any(array(
              select ctid from ${rule.table} where ${conditionOf(rule)} limit ${ROWS_AT_ONCE}))`,
            [endOf(kernel, rule)],
          )
          removed += step.count
          if (step.count < ROWS_AT_ONCE) return removed
        }
      }),
    dryRun: (kernel) =>
      report(rules, async (rule) => {
        const [row] = await kernel.db.sql.unsafe(
          `select count(*)::int as rows from ${rule.table} where ${conditionOf(rule)}`,
          [endOf(kernel, rule)],
        )
        return row.rows as number
      }),
  }
}

const endOf = ({ clock }: Kernel, { keptMs }: RetentionRule) => new Date(clock.now() - keptMs)

function conditionOf({ column, where }: RetentionRule): string {
  return `${column} < $1${where === undefined ? '' : ` and (${where})`}`
}

async function report(
  rules: readonly RetentionRule[],
  rowsOf: (rule: RetentionRule) => Promise<number>,
): Promise<JobReport> {
  const counts: Record<string, number> = {}
  for (const rule of rules) counts[rule.table] = (counts[rule.table] ?? 0) + (await rowsOf(rule))
  return counts
}
