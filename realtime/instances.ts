import type { Database } from '../db/client.ts'
import type { Clock } from '../src/kernel/clock.ts'
import { uuidv7 } from '../src/kernel/ids.ts'
import type { Logger } from '../src/kernel/log.ts'

/** The servers that run on this database, by their heartbeats in it. */
export interface Instances {
  /** Id of this one. */
  readonly id: string
  /** Others seen alive. */
  others(): ReadonlySet<string>
  /** Another has said hello on the bus, before its heartbeat was read. */
  met(id: string): void
  /** Another has said good-bye. */
  left(id: string): void
  stop(): Promise<void>
}

const HEARTBEAT_MS = 2_000
/** Silent for this long by the database's clock: gone. */
const DEAD_AFTER_SECONDS = 10

/**
 * Registers this instance and keeps watching the others. While the database is away, nobody is
 * declared dead.
 */
export async function startInstances(
  db: Database,
  clock: Clock,
  log: Logger,
  onGone: (id: string) => void,
): Promise<Instances> {
  const id = uuidv7()
  const others = new Set<string>()
  /** Met on the bus, not yet read from the table. */
  const fresh = new Set<string>()

  const forget = (other: string) => {
    fresh.delete(other)
    if (others.delete(other)) onGone(other)
  }
  const beat = async () => {
    await db.sql`
      insert into instances (id) values (${id})
      on conflict (id) do update set seen_at = now()`
    const rows = await db.sql<{ id: string }[]>`
      select id from instances
      where id <> ${id} and seen_at > now() - make_interval(secs => ${DEAD_AFTER_SECONDS})`
    const alive = new Set(rows.map((row) => row.id))
    for (const other of alive) {
      fresh.delete(other)
      others.add(other)
    }
    for (const other of others) if (!alive.has(other) && !fresh.has(other)) forget(other)
  }
  const quietly = () =>
    beat().catch((error: unknown) => log.debug('heartbeat not written', { error }))

  await beat()
  await db.sql`delete from instances where seen_at < now() - interval '1 day'`
  const timer = clock.setInterval(() => void quietly(), HEARTBEAT_MS)
  return {
    id,
    others: () => others,
    met(other) {
      if (others.has(other)) return
      others.add(other)
      fresh.add(other)
    },
    left: forget,
    async stop() {
      timer.cancel()
      await db.sql`delete from instances where id = ${id}`.catch(() => undefined)
    },
  }
}
