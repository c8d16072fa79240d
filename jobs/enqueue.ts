import { Buffer } from 'node:buffer'
import type { SQL } from 'bun'
import type { Clock } from '../src/base/clock.ts'
import { uuidv7 } from '../src/base/ids.ts'
import type { Enqueued } from '../src/kernel/effects.ts'
import type { Queues } from '../src/kernel/kernel.ts'
import { placeOf, type Vault } from '../src/vault/vault.ts'

/** Where jobs go; the worker hears of them through `onCommitted`. */
export function createQueues({ clock, vault }: { clock: Clock; vault: Vault }): Queues {
  const rowOf = ({ queue, sealed, payload, key, delayMs = 0 }: Enqueued): Row => {
    const id = uuidv7(clock.now())
    const bytes = sealed
      ? vault.seal(placeOf('queue_jobs', 'payload', id), payload)
      : Buffer.from(payload)
    return {
      id,
      queue,
      key: key ?? null,
      payload: `\\x${bytes.toString('hex')}`,
      delay_ms: Math.max(0, delayMs),
    }
  }
  let told = () => {}
  return {
    async insert(sql: SQL, jobs: readonly Enqueued[]) {
      // Time of the database; cut, not rounded, so that what is due now is not a moment later.
      // On conflict an update, and not nothing: it locks the waiting job until the caller commits.
      // Else the job could run before, without the caller's change, and nobody would run after.
      await sql`
        insert into queue_jobs as old (id, queue, key, payload, due_at, created_at)
        select id, queue, key, payload,
          date_trunc('milliseconds', clock_timestamp() + delay_ms * interval '1 millisecond'),
          date_trunc('milliseconds', clock_timestamp())
        from json_to_recordset(${JSON.stringify(distinct(jobs.map(rowOf)))}::text::json) as row(
          id uuid, queue text, key text, payload bytea, delay_ms float8)
        on conflict (queue, key) where key is not null and lease_id is null
        do update set due_at = case
          when old.attempts = 0 then least(old.due_at, excluded.due_at) else old.due_at end`
    },
    committed: () => told(),
    onCommitted: (fn) => (told = fn),
  }
}

interface Row {
  readonly id: string
  readonly queue: string
  readonly key: string | null
  readonly payload: string
  readonly delay_ms: number
}

/**
 * The rows with each key once, the soonest of its delays, and the keys sorted, so that two
 * transactions with the same keys wait for each other instead of locking each other out.
 */
function distinct(rows: readonly Row[]): readonly Row[] {
  if (rows.every(({ key }) => key === null)) return rows
  const keyed = new Map<string, Row>()
  for (const row of rows) {
    if (row.key === null) continue
    const name = JSON.stringify([row.queue, row.key])
    const known = keyed.get(name) ?? row
    keyed.set(name, { ...known, delay_ms: Math.min(known.delay_ms, row.delay_ms) })
  }
  const names = [...keyed.keys()].toSorted()
  return [...rows.filter(({ key }) => key === null), ...names.map((name) => keyed.get(name)!)]
}
