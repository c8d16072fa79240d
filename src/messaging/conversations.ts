import type { SQL } from 'bun'
import { isUuid } from '../base/ids.ts'
import { type ContactChange, Contacts } from '../blocks/index.ts'
import { type Kernel, service } from '../kernel/kernel.ts'
import {
  findPair,
  findPairs,
  inTouch,
  otherSide,
  type Pair,
  pairKey,
  showsPresence,
  sideOf,
} from './pairs.ts'

/**
 * Looks conversations up, remembering them: they are asked for with every frame. What others
 * change of them (blocks, closed accounts) is forgotten within half a second, on every instance.
 */
export interface ConversationTable {
  /** Remembered pairs only; synchronous. */
  known(id: string): Pair | undefined
  between(one: string, other: string): Pair | undefined
  byId(id: string): Promise<Pair | undefined>
  byUsers(one: string, other: string): Promise<Pair | undefined>
  /** The conversations of these ids, in the caller's transaction. */
  load(sql: SQL, ids: readonly string[]): Promise<Map<string, Pair>>
  /**
   * Which changes are known; to be asked for before rows are read that are to be remembered. What
   * has been read before a change, and comes after it, is not remembered.
   */
  age(): number
  /** To be called only with committed rows. */
  remember(pairs: readonly Pair[], age: number): void
}

const REMEMBERED_MAX = 100_000

/** The conversations that a server remembers. */
export const Conversations = service('messaging.conversations', createTable)

function createTable(kernel: Kernel): ConversationTable {
  const byId = new Map<string, Pair>()
  const byPair = new Map<string, Pair>()
  let changes = 0

  const forget = (pair: Pair) => {
    byId.delete(pair.id)
    byPair.delete(pairKey(pair.userA, pair.userB))
  }
  const forgetChanged = ({ userId, otherId }: ContactChange) => {
    if (otherId === undefined) {
      for (const pair of byId.values()) if (otherSide(pair, userId) !== undefined) forget(pair)
      return
    }
    const pair = byPair.get(pairKey(userId, otherId))
    if (pair !== undefined) forget(pair)
  }
  kernel.use(Contacts).onChanged((changed) => {
    changes++
    if (changed === 'all') {
      byId.clear()
      byPair.clear()
    } else {
      for (const change of changed) forgetChanged(change)
    }
  })

  const remember = (pairs: readonly Pair[], age: number) => {
    if (age !== changes) return
    for (const pair of pairs) {
      if (byId.size >= REMEMBERED_MAX && !byId.has(pair.id)) {
        const [oldest] = byId.values()
        if (oldest !== undefined) forget(oldest)
      }
      byId.set(pair.id, pair)
      byPair.set(pairKey(pair.userA, pair.userB), pair)
    }
  }
  const load = async (sql: SQL, ids: readonly string[]) => {
    const found = new Map<string, Pair>()
    const missing: string[] = []
    for (const id of ids) {
      const pair = byId.get(id)
      if (pair === undefined) missing.push(id)
      else found.set(id, pair)
    }
    if (missing.length === 0) return found
    const age = changes
    const pairs = await findPairs(sql, missing)
    remember(pairs, age)
    for (const pair of pairs) found.set(pair.id, pair)
    return found
  }
  return {
    known: (id) => byId.get(id),
    between: (one, other) => byPair.get(pairKey(one, other)),
    load,
    age: () => changes,
    remember,
    async byId(id) {
      const found = byId.get(id)
      // Names of channels come from clients and may hold anything.
      if (found !== undefined || !isUuid(id)) return found
      return (await kernel.db.read((sql) => load(sql, [id]))).get(id)
    },
    async byUsers(one, other) {
      const known = byPair.get(pairKey(one, other))
      if (known !== undefined) return known
      const age = changes
      const pair = await kernel.db.read((sql) => findPair(sql, one, other))
      if (pair !== undefined) remember([pair], age)
      return pair
    },
  }
}

/**
 * Whether somebody shows their presence to the other side of a conversation. That they have not
 * written is remembered only here, and may have changed on another instance: it is asked again.
 */
export async function isShown(kernel: Kernel, pair: Pair, userId: string): Promise<boolean> {
  if (!inTouch(pair) || sideOf(pair, userId).wrote) return showsPresence(pair, userId)
  const table = kernel.use(Conversations)
  const age = table.age()
  const fresh = await kernel.db.read((sql) => findPairs(sql, [pair.id]))
  table.remember(fresh, age)
  return fresh.some((one) => showsPresence(one, userId))
}
