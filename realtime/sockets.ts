import type { Connection } from './connection.ts'

/** The open sockets of this instance, by user. */
export interface Sockets {
  add(connection: Connection): void
  remove(connection: Connection): void
  /** Sends a frame to a user's connections, except one. @returns to how many */
  tell(userId: string, frame: string, exceptId?: string | null): number
  of(userId: string): readonly Connection[]
  all(): Iterable<Connection>
  size(): number
}

const NONE: readonly Connection[] = []

/** Makes the table. A user with one connection costs no array: most have exactly one. */
export function createSockets(): Sockets {
  const byUser = new Map<string, Connection | Connection[]>()
  const all = new Set<Connection>()
  const of = (userId: string): readonly Connection[] => {
    const found = byUser.get(userId)
    if (found === undefined) return NONE
    return Array.isArray(found) ? found : [found]
  }
  return {
    of,
    all: () => all,
    size: () => all.size,
    add(connection) {
      const userId = connection.actor?.userId ?? ''
      all.add(connection)
      const found = byUser.get(userId)
      if (found === undefined) byUser.set(userId, connection)
      else if (Array.isArray(found)) found.push(connection)
      else byUser.set(userId, [found, connection])
    },
    remove(connection) {
      if (!all.delete(connection)) return
      const userId = connection.actor?.userId ?? ''
      const rest = of(userId).filter((other) => other !== connection)
      if (rest.length === 0) byUser.delete(userId)
      else byUser.set(userId, rest.length === 1 ? (rest[0] as Connection) : [...rest])
    },
    tell(userId, frame, exceptId) {
      const found = byUser.get(userId)
      if (found === undefined) return 0
      if (!Array.isArray(found)) {
        if (found.id === exceptId) return 0
        found.send(frame)
        return 1
      }
      let count = 0
      for (const connection of found) {
        if (connection.id === exceptId) continue
        connection.send(frame)
        count++
      }
      return count
    },
  }
}
