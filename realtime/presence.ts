import type { Clock, Timer } from '../src/base/clock.ts'
import type { Presence, PresenceStatus } from '../src/kernel/kernel.ts'
import type { Bus, PresenceEntry } from './bus.ts'

/** Presence as the gateway and the bus feed it. */
export interface PresenceTable extends Presence {
  connected(userId: string): void
  disconnected(userId: string): void
  /** Connections of a user on other instances. */
  elsewhere(userId: string): number
  /** What another instance says of its connections; `whole` replaces what it said before. */
  report(from: string, entries: Readonly<Record<string, PresenceEntry>>, whole: boolean): void
  /** Another instance is gone, and its connections with it. */
  gone(from: string): void
  /** Tells the others everything, after a hello or an outage. */
  tellAll(): void
  stop(): void
}

/** A user whose connections or status have changed, for whoever announces it. */
export interface PresenceChange {
  readonly userId: string
  readonly status: PresenceStatus
  /** The status is another than the one announced last. */
  readonly changed: boolean
  /** A further device of theirs has come. */
  readonly device: boolean
}

/** How long presence waits before it says something. */
export interface PresenceTimes {
  /** A reconnect within this time causes no offline and online again. */
  readonly graceMs: number
  /** Status changes are announced together this often. */
  readonly coalesceMs: number
}
export const PRESENCE_TIMES: PresenceTimes = { graceMs: 5_000, coalesceMs: 1_000 }

/** Changes go to the other instances together this often. */
const TELL_MS = 50
/** Users in one message of a full account. */
const ENTRIES_MAX = 1_000

interface Local {
  connections: number
  status: PresenceStatus
}

export interface PresenceParts {
  readonly clock: Clock
  readonly bus: () => Bus
  /** Called once a second with what changed; never with a change that has undone itself. */
  readonly announce: (changes: readonly PresenceChange[]) => void
  readonly times?: Partial<PresenceTimes> | undefined
  /** Whether this instance speaks for the users of one that has crashed. */
  readonly speaksForGone: () => boolean
}

/**
 * Who is connected, over all instances: each keeps its own connections and a copy of what the
 * others say of theirs. So a look-up costs no query, and losing the broker loses nothing that the
 * next account does not bring back.
 */
export function createPresence(parts: PresenceParts): PresenceTable {
  const times = { ...PRESENCE_TIMES, ...parts.times }
  const local = new Map<string, Local>()
  const remote = new Map<string, Map<string, PresenceEntry>>()
  /** What was last announced; absent is offline. */
  const announced = new Map<string, PresenceStatus>()
  const changed = new Map<string, boolean>()
  const leaving = new Map<string, Timer>()
  const untold = new Set<string>()
  const timers: Timer[] = []

  const elsewhere = (userId: string) => {
    let sum = 0
    if (remote.size === 0) return sum
    for (const users of remote.values()) sum += users.get(userId)?.[0] ?? 0
    return sum
  }
  const connections = (userId: string) => (local.get(userId)?.connections ?? 0) + elsewhere(userId)
  const status = (userId: string): PresenceStatus => {
    const own = local.get(userId)
    if (own !== undefined) return own.status
    for (const users of remote.values()) {
      const entry = users.get(userId)
      if (entry !== undefined && entry[0] > 0) return entry[1]
    }
    return leaving.has(userId) ? (announced.get(userId) ?? 'offline') : 'offline'
  }
  const change = (userId: string, device: boolean) => {
    changed.set(userId, device || changed.get(userId) === true)
  }
  const maybeGone = (userId: string) => {
    // Also with connections elsewhere: they may be closing at this very moment, and then neither
    // instance would see the last one go.
    if (leaving.has(userId)) return
    const timer = parts.clock.setTimeout(() => {
      leaving.delete(userId)
      if (connections(userId) === 0) change(userId, false)
    }, times.graceMs)
    leaving.set(userId, timer)
  }
  const arrived = (userId: string) => {
    leaving.get(userId)?.cancel()
    leaving.delete(userId)
  }

  const announce = () => {
    if (changed.size === 0) return
    const changes: PresenceChange[] = []
    for (const [userId, device] of changed) {
      const now = status(userId)
      const same = (announced.get(userId) ?? 'offline') === now
      if (now === 'offline') announced.delete(userId)
      else announced.set(userId, now)
      if (!same || device) changes.push({ userId, status: now, changed: !same, device })
    }
    changed.clear()
    if (changes.length > 0) parts.announce(changes)
  }
  const tell = () => {
    if (untold.size === 0) return
    const entries = [...untold].map((userId) => [userId, entryOf(local.get(userId))] as const)
    untold.clear()
    for (let i = 0; i < entries.length; i += ENTRIES_MAX) {
      const some = Object.fromEntries(entries.slice(i, i + ENTRIES_MAX))
      parts.bus().send(['presence', some, false])
    }
  }
  timers.push(
    parts.clock.setInterval(announce, times.coalesceMs),
    parts.clock.setInterval(tell, TELL_MS),
  )

  return {
    connections,
    elsewhere,
    status,
    onlineCount: () => announced.size,
    setStatus(userId, next) {
      const own = local.get(userId)
      if (own === undefined) return
      own.status = next
      change(userId, false)
      untold.add(userId)
    },
    connected(userId) {
      const own = local.get(userId)
      if (own === undefined) local.set(userId, { connections: 1, status: kept(userId) })
      else own.connections++
      arrived(userId)
      change(userId, true)
      untold.add(userId)
    },
    disconnected(userId) {
      const own = local.get(userId)
      if (own === undefined) return
      untold.add(userId)
      if (--own.connections > 0) return
      local.delete(userId)
      maybeGone(userId)
    },
    report(from, entries, whole) {
      let users = remote.get(from)
      if (users === undefined || whole) remote.set(from, (users = new Map()))
      for (const [userId, entry] of Object.entries(entries)) {
        if (entry[0] > 0) {
          users.set(userId, entry)
          arrived(userId)
          // The instance of the connection announces; here it only counts as announced.
          announced.set(userId, entry[1])
        } else {
          users.delete(userId)
          // Left here as well within the grace: who forgot now would have nothing to take back.
          if (connections(userId) === 0 && !leaving.has(userId)) announced.delete(userId)
        }
      }
    },
    gone(from) {
      const users = remote.get(from)
      remote.delete(from)
      if (users === undefined) return
      for (const userId of users.keys()) {
        if (connections(userId) > 0) continue
        if (parts.speaksForGone()) maybeGone(userId)
        else announced.delete(userId)
      }
    },
    tellAll() {
      const entries = [...local].map(([userId, own]) => [userId, entryOf(own)] as const)
      for (let i = 0; i === 0 || i < entries.length; i += ENTRIES_MAX) {
        const some = Object.fromEntries(entries.slice(i, i + ENTRIES_MAX))
        parts.bus().send(['presence', some, i === 0])
      }
    },
    stop() {
      for (const timer of timers) timer.cancel()
      for (const timer of leaving.values()) timer.cancel()
    },
  }

  /** Away and busy outlive a reconnect; a fresh arrival is online. */
  function kept(userId: string): Local['status'] {
    const before = announced.get(userId)
    return before === undefined || before === 'offline' ? 'online' : before
  }
}

function entryOf(own: Local | undefined): PresenceEntry {
  return own === undefined ? [0, 'offline'] : [own.connections, own.status]
}
