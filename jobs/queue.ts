import { Buffer } from 'node:buffer'
import type { SQL } from 'bun'
import type { Clock } from '../src/kernel/clock.ts'
import { uuidv7 } from '../src/kernel/ids.ts'
import type { Enqueued, Queues } from '../src/kernel/queue.ts'
import { placeOf, type Vault } from '../src/kernel/vault.ts'

/** Where jobs go; whoever works them off listens through `onCommitted`. */
export function createQueues({ clock, vault }: { clock: Clock; vault: Vault }): Queues {
  const rowOf = ({ queue, payload, key, delayMs = 0 }: Enqueued) => {
    if (!queue.valid.check(payload)) {
      const errors = JSON.stringify(queue.valid.errors(payload))
      throw new Error(`not a payload of the queue ${queue.name}: ${errors}`)
    }
    const id = uuidv7(clock.now())
    const text = JSON.stringify(payload)
    const bytes =
      queue.sealed === true
        ? vault.seal(placeOf('queue_jobs', 'payload', id), text)
        : Buffer.from(text)
    return {
      id,
      queue: queue.name,
      key: key ?? null,
      payload: `\\x${bytes.toString('hex')}`,
      due_at: new Date(clock.now() + delayMs),
    }
  }
  return {
    async insert(sql: SQL, jobs: readonly Enqueued[]) {
      await sql`
        insert into queue_jobs (id, queue, key, payload, due_at, created_at)
        select id, queue, key, payload, due_at, ${clock.date()}
        from json_to_recordset(${JSON.stringify(jobs.map(rowOf))}::text::json) as row(
          id uuid, queue text, key text, payload bytea, due_at timestamptz)
        on conflict (queue, key) where key is not null do nothing`
    },
    committed: () => undefined,
  }
}
