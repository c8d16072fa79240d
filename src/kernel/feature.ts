import type { Channel, EventType } from './channel.ts'
import type { Job } from './job.ts'
import { type Given, given, type Kernel, part } from './kernel.ts'
import type { Operation } from './operation.ts'
import type { Page } from './page.ts'
import { AllPersonalData, type PersonalData } from './personal-data.ts'
import { type Queue, QueueCatalog } from './queue.ts'
import { type ServiceEventType, ServiceEventTypes } from './service-event.ts'

/** What a feature brings to the product. Each edge mounts what it needs of it. */
export interface Feature {
  readonly name: string
  readonly operations: readonly Operation[]
  readonly channels: readonly Channel[]
  readonly events: readonly EventType[]
  readonly jobs: readonly Job[]
  /** Durable work: what happens soon, again when it fails. */
  readonly queues: readonly Queue[]
  /** What services may be told of it, by webhooks. */
  readonly serviceEvents: readonly ServiceEventType[]
  /** Columns whose values the vault has sealed, so that they are sealed anew with a new key. */
  readonly sealed: readonly SealedColumn[]
  /** What it holds of a person: for their export, and for the closing of their account. */
  readonly personalData?: PersonalData
  /** Pages that links of mails lead to, by the last part of their path below `/account/`. */
  readonly pages: Readonly<Record<string, Page>>
  /** Parts that other features have declared and this one fills. */
  readonly provides: readonly Given[]
  /** Who hears of a user's presence, and by which events; rooms and conversations have peers. */
  readonly presence?: PresenceAudience
  /** Work of the feature's own that runs as long as the server; returns how to stop it. */
  readonly start?: (kernel: Kernel) => Promise<() => void | Promise<void>>
}

/** A column of sealed values; `placeOf(table, column, <id>)` is what each is bound to. */
export interface SealedColumn {
  readonly table: string
  readonly column: string
  /** The column that identifies the row, as text. */
  readonly id: string
}

/** The sealed columns of all features, also those that are turned off. */
export const SealedColumns = part<readonly SealedColumn[]>('the sealed columns of all features')

/** People who share something with a user, and the channel that they share. */
export interface Peer {
  readonly userId: string
  readonly peerId: string
  /** Id of the shared channel, in the namespace of the events. */
  readonly channelId: string
}

/** The part of a feature that knows who may see whom. */
export interface PresenceAudience {
  readonly peers: (kernel: Kernel, userIds: readonly string[]) => Promise<readonly Peer[]>
  /** Users who have just left: writes down when they were last seen. Before peers are told. */
  readonly left?: (kernel: Kernel, userIds: readonly string[]) => Promise<void>
  /** Payload `{user_id, status, last_seen}`. */
  readonly update: EventType
  /** Payload `{user_id}`: a further device of theirs has come. */
  readonly device: EventType
}

/** Declares a feature: a folder and a line in `features.ts`. */
export function feature(manifest: { name: string } & Partial<Feature>): Feature {
  return {
    operations: [],
    channels: [],
    events: [],
    jobs: [],
    queues: [],
    serviceEvents: [],
    sealed: [],
    pages: {},
    provides: [],
    ...manifest,
  }
}

/** Everything that is mounted, looked up by name. */
export interface Registry {
  readonly features: readonly Feature[]
  readonly operations: ReadonlyMap<string, Operation>
  readonly channels: ReadonlyMap<string, Channel>
  readonly events: readonly EventType[]
  /** Durable events by the number in their stream rows. */
  readonly kinds: ReadonlyMap<number, EventType>
  readonly jobs: readonly Job[]
  readonly queues: ReadonlyMap<string, Queue>
  /** What services may be told, by type. */
  readonly serviceEvents: ReadonlyMap<string, ServiceEventType>
  /** Pages that links of mails lead to, by name. */
  readonly pages: ReadonlyMap<string, Page>
}

function add<K, V>(map: Map<K, V>, key: K, value: V, what: string): void {
  if (map.has(key)) throw new Error(`${what} ${String(key)} is declared twice`)
  map.set(key, value)
}

/** Collects the features and refuses two of the same name, route or number. */
export function createRegistry(features: readonly Feature[]): Registry {
  const operations = new Map<string, Operation>()
  const routes = new Map<string, Operation>()
  const channels = new Map<string, Channel>()
  const kinds = new Map<number, EventType>()
  const queues = new Map<string, Queue>()
  const serviceEvents = new Map<string, ServiceEventType>()
  const pages = new Map<string, Page>()
  for (const { operations: own, channels: spaces, events, queues: lines, ...rest } of features) {
    for (const type of rest.serviceEvents) add(serviceEvents, type.type, type, 'service event')
    for (const [name, page] of Object.entries(rest.pages)) add(pages, name, page, 'page')
    for (const line of lines) add(queues, line.name, line, 'queue')
    for (const operation of own) {
      add(operations, operation.name, operation, 'operation')
      for (const { method, path } of operation.routes) {
        add(routes, `${method} ${path.replaceAll(/:[a-z_]+/g, ':')}`, operation, 'route')
      }
    }
    for (const space of spaces) add(channels, space.namespace, space, 'channel namespace')
    for (const type of events)
      if (type.kind !== undefined) add(kinds, type.kind, type, 'event kind')
  }
  return {
    features,
    operations,
    channels,
    events: features.flatMap((f) => f.events),
    kinds,
    jobs: features.flatMap((f) => f.jobs),
    queues,
    serviceEvents,
    pages,
  }
}

/** What features ask for of all the others: each gets just its part of the registry. */
export function partsOf({ features, queues, serviceEvents }: Registry): readonly Given[] {
  const personal = features.flatMap(({ personalData }) => personalData ?? [])
  const sealed = features.flatMap((each) => each.sealed)
  return [
    given(AllPersonalData, personal),
    given(QueueCatalog, queues),
    given(SealedColumns, sealed),
    given(ServiceEventTypes, serviceEvents),
    // What features fill for each other.
    ...features.flatMap(({ provides }) => provides),
  ]
}
