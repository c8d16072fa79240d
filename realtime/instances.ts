import type { Database } from '../db/client.ts'
import type { Clock } from '../src/base/clock.ts'
import { uuidv7 } from '../src/base/ids.ts'
import type { Logger } from '../src/observe/log.ts'

/** The servers that run on this database, by their heartbeats in it. */
export interface Instances {
  /** Id of this one. */
  readonly id: string
  /** Others seen alive. */
  others(): ReadonlySet<string>
  /** Another has said something on the bus. @returns whether it was unknown until now */
  met(id: string): boolean
  /** Another has said good-bye. */
  left(id: string): void
  stop(): Promise<void>
}

/** What an instance learns of the others from their heartbeats. */
export interface InstanceEvents {
  readonly gone: (id: string) => void
  /** Another is there that has said nothing yet, or nothing since it was taken for gone. */
  readonly found: (id: string) => void
}

const HEARTBEAT_MS = 2_000
/** Silent for this long: gone. */
const DEAD_AFTER_MS = 10_000

/**
 * Registers this instance and keeps watching the others. While the database is away nobody is
 * declared dead, nor soon after: nobody could write a heartbeat, and a crash has emptied the table.
 */
export async function startInstances(
  db: Database,
  clock: Clock,
  log: Logger,
  on: InstanceEvents,
): Promise<Instances> {
  const id = uuidv7()
  const others = new Set<string>()
  /** When the last sign of each other came, by the clock of this process. */
  const seenMs = new Map<string, number>()
  /** Since when heartbeats are read without an interruption. */
  let readingSinceMs = clock.monotonicMs()
  let readMs = readingSinceMs

  const forget = (other: string) => {
    seenMs.delete(other)
    if (others.delete(other)) on.gone(other)
  }
  const sign = (other: string, atMs: number): boolean => {
    seenMs.set(other, Math.max(atMs, seenMs.get(other) ?? atMs))
    if (others.has(other)) return false
    others.add(other)
    return true
  }
  const beat = async (): Promise<string[]> => {
    await db.sql`
      insert into instances (id) values (${id})
      on conflict (id) do update set seen_at = now()`
    const rows = await db.sql<{ id: string; age_ms: number }[]>`
      select id, extract(epoch from now() - seen_at)::float8 * 1000 as age_ms from instances
      where id <> ${id} and seen_at > now() - ${DEAD_AFTER_MS} * interval '1 millisecond'`
    const nowMs = clock.monotonicMs()
    if (nowMs - readMs > DEAD_AFTER_MS / 2) readingSinceMs = nowMs
    readMs = nowMs
    const found = rows.filter((row) => sign(row.id, nowMs - row.age_ms)).map((row) => row.id)
    for (const other of others) {
      const silentMs = nowMs - Math.max(seenMs.get(other) ?? 0, readingSinceMs)
      if (silentMs > DEAD_AFTER_MS) forget(other)
    }
    return found
  }
  const quietly = () =>
    beat().then(
      (found) => found.forEach(on.found),
      (error: unknown) => log.debug('heartbeat not written', { error }),
    )

  await beat()
  await db.sql`delete from instances where seen_at < now() - interval '1 day'`
  const timer = clock.setInterval(() => void quietly(), HEARTBEAT_MS)
  return {
    id,
    others: () => others,
    met: (other) => sign(other, clock.monotonicMs()),
    left: forget,
    async stop() {
      timer.cancel()
      await db.sql`delete from instances where id = ${id}`.catch(() => undefined)
    },
  }
}
