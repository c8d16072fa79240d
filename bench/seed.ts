import { SQL } from 'bun'
import { prepareDatabase } from '../db/roles.ts'
import { systemClock } from '../src/base/clock.ts'
import { createLogger } from '../src/observe/log.ts'
import type { BenchUser } from './users.ts'

/** Brings an empty database up to date and stores the users. */
export async function seed(ownerUrl: string, users: readonly BenchUser[]): Promise<void> {
  const clock = systemClock
  const log = createLogger({ level: 'warn', clock })
  await prepareDatabase({ ownerUrl, clock, log })
  await storeUsers(ownerUrl, users)
}

/** Stores the users, their sessions and conversations in a database that is up to date. */
export async function storeUsers(ownerUrl: string, users: readonly BenchUser[]): Promise<void> {
  const ids = users.map(({ id }) => id)
  const even = users.filter((_, index) => index % 2 === 0)
  const odd = users.filter((_, index) => index % 2 === 1)
  const sql = new SQL(ownerUrl, { max: 1 })
  try {
    await sql.begin(async (tx) => {
      await tx`
        insert into users (id, email, username, name, roles)
        select id, 'bench-' || n || '@example.org', 'bench-' || n, 'Bench ' || n, '{user}'
        from unnest(${tx.array(ids, 'uuid')}) with ordinality as u(id, n)`
      await tx`
        insert into sessions (id, user_id, address, expires_at)
        select session, id, '127.0.0.1', now() + interval '1 day'
        from unnest(
          ${tx.array(ids, 'uuid')},
          ${tx.array(
            users.map(({ session }) => session),
            'uuid',
          )}
        ) as u(id, session)`
      await tx`
        insert into conversations (id, user_a, user_b, a_wrote, b_wrote)
        select conversation, least(one, other), greatest(one, other), true, true
        from unnest(
          ${tx.array(
            even.map(({ conversation }) => conversation),
            'uuid',
          )},
          ${tx.array(
            even.map(({ id }) => id),
            'uuid',
          )},
          ${tx.array(
            odd.map(({ id }) => id),
            'uuid',
          )}
        ) as c(conversation, one, other)`
    })
    // They have been here before: a reconnect storm does not make streams.
    await sql`insert into stream_heads (channel) select 'user:' || id from users order by id`
    await sql`analyze users, sessions, conversations`
  } finally {
    await sql.close()
  }
}
