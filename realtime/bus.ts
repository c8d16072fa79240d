import type { PresenceStatus } from '../src/kernel/kernel.ts'
import type { Broker } from './broker/broker.ts'
import type { StreamEvent } from './hub.ts'

/** What a user's connections look like on one instance. */
export type PresenceEntry = readonly [connections: number, status: PresenceStatus]

/** What instances say to each other. Arrays, because thousands of them go over the wire. */
export type BusMessage =
  /** Numbered events: channel, offset, type, payload. */
  | readonly ['events', readonly (readonly [string, number, string, string])[]]
  /** A ready frame to all connections of a user, except one. */
  | readonly ['tell', string, string, string | null]
  /** A ready frame to all subscribers of a channel. */
  | readonly ['announce', string, string]
  | readonly ['revoked', readonly string[]]
  /** Users' connections on the sending instance; `whole` begins a full account. */
  | readonly ['presence', Readonly<Record<string, PresenceEntry>>, boolean]
  /** A new instance: tell me who is with you. */
  | readonly ['hello']
  | readonly ['bye']

export interface Bus {
  send(message: BusMessage): void
  /** Begins to listen. */
  start(): Promise<void>
}

export interface BusHandlers {
  readonly events: (events: readonly StreamEvent[]) => void
  readonly other: (from: string, message: BusMessage) => void
  readonly gap: () => void
}

/** Events in one message of the broker: a batch of 200 costs a fifth of 200 singles. */
const MESSAGES_MAX = 200

/**
 * The instances' common line over a broker: what is said in one tick goes as one message.
 * @param from id of this instance; its own messages are ignored when they come back
 */
export function createBus(broker: Broker, from: string, on: BusHandlers): Bus {
  let waiting: BusMessage[] = []
  const flush = () => {
    const all = waiting
    waiting = []
    for (let i = 0; i < all.length; i += MESSAGES_MAX) {
      broker.publish(JSON.stringify([from, all.slice(i, i + MESSAGES_MAX)]))
    }
  }
  const receive = (text: string) => {
    const [sender, messages] = JSON.parse(text) as [string, BusMessage[]]
    if (sender === from) return
    for (const message of messages) {
      if (message[0] !== 'events') on.other(sender, message)
      else
        on.events(
          message[1].map(([channel, offset, type, payload]) => ({
            channel,
            offset,
            type,
            payload,
            skip: undefined,
          })),
        )
    }
  }
  return {
    start: () => broker.start(receive, on.gap),
    send(message) {
      if (broker.kind === 'memory') return
      if (waiting.length === 0) setImmediate(flush)
      waiting.push(message)
    },
  }
}
