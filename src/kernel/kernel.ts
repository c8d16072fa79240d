import type { SQL } from 'bun'
import type { Database } from '../../db/client.ts'
import type { Clock } from '../base/clock.ts'
import type { Static, TSchema } from '../base/schema.ts'
import type { Config } from '../config.ts'
import type { Logger } from '../observe/log.ts'
import type { Metrics } from '../observe/metrics.ts'
import type { Vault } from '../vault/vault.ts'
import type { Audit } from './audit.ts'
import type { EventType } from './channel.ts'
import type { Emission, Enqueued } from './effects.ts'
import type { Registry } from './feature.ts'
import type { Limiter } from './limits.ts'
import type { StepUp } from './step-up.ts'

/**
 * What the core has at hand: the machine's parts behind interfaces, so that features know neither
 * sockets nor routes nor Redis. One kernel a server; tests run several in one process.
 */
export interface Kernel {
  readonly config: Config
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: Metrics
  readonly db: Database
  readonly limiter: Limiter
  readonly registry: Registry
  readonly streams: Streams
  readonly audit: Audit
  readonly queues: Queues
  readonly stepUp: StepUp
  readonly vault: Vault
  readonly announcer: Announcer
  readonly presence: Presence
  /** The one instance of a service in this server, made at first use. */
  use<T>(service: Service<T>): T
}

/** Something a feature makes once a server: a cache, a token issuer. */
export interface Service<T> {
  readonly name: string
  readonly create: (kernel: Kernel) => T
}
/** Declares a service. */
export function service<T>(name: string, create: (kernel: Kernel) => T): Service<T> {
  return { name, create }
}

/** Declares something that features ask for and the assembly hands over. */
export function part<T>(name: string): Service<T> {
  return service(name, () => {
    throw new Error(`nobody has handed over: ${name}`)
  })
}

/** A part and what it is in this server. */
export type Given = readonly [part: Service<unknown>, value: unknown]
/** Hands over a part. */
export function given<T>(wanted: Service<T>, value: T): Given {
  return [wanted, value]
}

/** A function that makes each service at its first use, and the same one ever after. */
export function serviceTable(kernel: () => Kernel, parts: readonly Given[] = []): Kernel['use'] {
  const made = new Map<Service<unknown>, unknown>(parts)
  return <T>(wanted: Service<T>): T => {
    let found = made.get(wanted) as T | undefined
    if (found === undefined) {
      found = wanted.create(kernel())
      made.set(wanted, found)
    }
    return found
  }
}

/** A position on a stream. */
export interface Position {
  readonly channel: string
  readonly offset: number
}

/** Where durable events go: an outbox row in the transaction, then the stream. */
export interface Streams {
  /** Inserts outbox rows in the caller's transaction. */
  enqueue(sql: SQL, emissions: readonly Emission[]): Promise<void>
  /** Tells the writer that rows have been committed. */
  committed(): void
  /** Numbering by a batch handler itself, as the last act of its transaction. */
  batch(sql: SQL): StreamBatch
  /** Events after an offset, oldest first, at most `limit`: for who follows a stream by itself. */
  page(channel: string, after: number, limit: number): Promise<StreamPage>
}

/** A piece of a stream. */
export interface StreamPage {
  /** Names the life of the stream: in another one, offsets mean something else. */
  readonly epoch: string
  /** The newest offset, 0 before the first event. */
  readonly top: number
  /** Offsets grow by one from event to event; the oldest events are forgotten after a while. */
  readonly events: readonly { readonly offset: number; readonly payload: string }[]
}

/** The numbering of one batch. */
export interface StreamBatch {
  /** Locks the heads of these channels (those free at once); may be called before `number`. */
  claim(channels: readonly string[]): void
  /**
   * Gives offsets to what it can, sends the rest to the outbox, and sends `commit` last, all
   * pipelined. Resolves after the commit with the offset of each emission, if it has one.
   */
  commit(emissions: readonly Emission[]): Promise<(number | undefined)[]>
  /** Publishes what `commit` has numbered. `skip[i]` is a connection that knows already. */
  publish(emissions: readonly Emission[], skip: readonly (string | undefined)[]): void
  /** Gives up what is held when the transaction fails. */
  release(): void
}

/** Ephemeral events: at most once, to whoever is connected now, on every instance. */
export interface Announcer {
  /** To all subscribers of a channel. */
  announce<S extends TSchema>(event: EventType<S>, id: string, payload: Static<S>): void
  /**
   * To every connection of a user, labelled with the channel the event is about.
   * @returns how many connections it was sent to
   */
  tell<S extends TSchema>(
    userId: string,
    event: EventType<S>,
    id: string,
    payload: Static<S>,
    exceptConnectionId?: string,
  ): number
  /** Closes every socket of these sessions, everywhere. */
  revoked(sessionIds: readonly string[]): void
}

export type PresenceStatus = 'online' | 'offline' | 'away' | 'busy'

/** Who is connected, over all instances. */
export interface Presence {
  /** Connections of a user over all instances. */
  connections(userId: string): number
  status(userId: string): PresenceStatus
  /** Sets what a connected user says of themself; `offline` appears so while connected. */
  setStatus(userId: string, status: PresenceStatus): void
  onlineCount(): number
}

/** Where jobs go. In a handler use `ctx.enqueue`, which does both of these. */
export interface Queues {
  /** Inserts jobs in the caller's transaction. */
  insert(sql: SQL, jobs: readonly Enqueued[]): Promise<void>
  /** Tells the worker that jobs have been committed. */
  committed(): void
  /** Calls `fn` after every `committed`; for the worker. */
  onCommitted(fn: () => void): void
}
