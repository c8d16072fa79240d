import type { SQL } from 'bun'
import { isUuid, uuidv7 } from '../kernel/ids.ts'
import { type Kernel, service } from '../kernel/kernel.ts'

/** Two users and the conversation between them. Never changes once it is there. */
export interface Pair {
  readonly id: string
  /** Compact key of its messages. */
  readonly number: number
  /** The smaller of the two ids. */
  readonly userA: string
  readonly userB: string
}

/** Looks conversations up, remembering them: they are asked for with every frame. */
export interface ConversationTable {
  /** Remembered pairs only; synchronous. */
  known(id: string): Pair | undefined
  between(one: string, other: string): Pair | undefined
  byId(id: string): Promise<Pair | undefined>
  /** To be called only with committed rows. */
  remember(pairs: readonly Pair[]): void
}

const REMEMBERED_MAX = 100_000

/** The key of a pair, whoever is named first. */
export function pairKey(one: string, other: string): string {
  return one < other ? `${one}${other}` : `${other}${one}`
}

/** The other side of a conversation; undefined for somebody who is not in it. */
export function otherSide(pair: Pair, userId: string): string | undefined {
  if (pair.userA === userId) return pair.userB
  return pair.userB === userId ? pair.userA : undefined
}

const columns = 'id, number::float8 as number, user_a as "userA", user_b as "userB"'

export const Conversations = service('messaging.conversations', createTable)

function createTable(kernel: Kernel): ConversationTable {
  const byId = new Map<string, Pair>()
  const byPair = new Map<string, Pair>()
  const remember = (pairs: readonly Pair[]) => {
    for (const pair of pairs) {
      if (byId.size >= REMEMBERED_MAX) {
        const [oldest] = byId.values()
        if (oldest !== undefined) {
          byId.delete(oldest.id)
          byPair.delete(pairKey(oldest.userA, oldest.userB))
        }
      }
      byId.set(pair.id, pair)
      byPair.set(pairKey(pair.userA, pair.userB), pair)
    }
  }
  return {
    known: (id) => byId.get(id),
    between: (one, other) => byPair.get(pairKey(one, other)),
    remember,
    async byId(id) {
      const found = byId.get(id)
      // Names of channels come from clients and may hold anything.
      if (found !== undefined || !isUuid(id)) return found
      const rows = await kernel.db.read((sql) =>
        sql.unsafe<Pair[]>(`select ${columns} from conversations where id = $1`, [id]),
      )
      remember(rows)
      return rows[0]
    },
  }
}

/**
 * Finds or makes the conversations of pairs within the caller's transaction. Pairs with somebody
 * who does not exist (any more) are left out of the answer.
 */
export async function findOrCreate(
  sql: SQL,
  pairs: readonly (readonly [string, string])[],
): Promise<Map<string, Pair>> {
  const sorted = pairs
    .map(([one, other]) => (one < other ? [one, other] : [other, one]))
    // In one order everywhere, so that two batches cannot deadlock on each other's new rows.
    .toSorted(([a1, b1], [a2, b2]) => `${a1}${b1}`.localeCompare(`${a2}${b2}`))
  const as = `{${sorted.map(([a]) => a).join(',')}}`
  const bs = `{${sorted.map(([, b]) => b).join(',')}}`
  const ids = `{${sorted.map(() => uuidv7()).join(',')}}`
  await sql`
    insert into conversations (id, user_a, user_b)
    select u.id, u.a, u.b
    from unnest(${ids}::text::uuid[], ${as}::text::uuid[], ${bs}::text::uuid[]) u(id, a, b)
    join users x on x.id = u.a and x.closed_at is null
    join users y on y.id = u.b and y.closed_at is null
    order by u.a, u.b
    on conflict (user_a, user_b) do nothing`
  const rows = await sql<Pair[]>`
    select c.id, c.number::float8 as number, c.user_a as "userA", c.user_b as "userB"
    from unnest(${as}::text::uuid[], ${bs}::text::uuid[]) u(a, b)
    join conversations c on c.user_a = u.a and c.user_b = u.b
    join users x on x.id = u.a and x.closed_at is null
    join users y on y.id = u.b and y.closed_at is null`
  return new Map(rows.map((pair) => [pairKey(pair.userA, pair.userB), pair]))
}
