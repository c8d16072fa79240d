import type { Database } from '../db/client.ts'
import type { Clock } from '../src/base/clock.ts'
import type { Registry } from '../src/kernel/feature.ts'
import type { Announcer, Streams } from '../src/kernel/kernel.ts'
import type { Logger } from '../src/observe/log.ts'
import type { Metrics } from '../src/observe/metrics.ts'
import type { Broker } from './broker/broker.ts'
import { createMemoryBroker } from './broker/memory.ts'
import { createPostgresBroker } from './broker/postgres.ts'
import { createRedisBroker } from './broker/redis.ts'
import { type Bus, type BusMessage, createBus } from './bus.ts'
import { ephemeralFrame, nativeRenderer } from './dialects/native.ts'
import { createHub, type Hub, type StreamEvent } from './hub.ts'
import { type Instances, startInstances } from './instances.ts'
import {
  createPresence,
  type PresenceChange,
  type PresenceTable,
  type PresenceTimes,
} from './presence.ts'
import { createSockets, type Sockets } from './sockets.ts'
import { type BatchParts, createStreamBatch } from './streams/batch.ts'
import { createHeads } from './streams/heads.ts'
import { observeOutbox } from './streams/lag.ts'
import { createMutex } from './streams/mutex.ts'
import { insertOutbox } from './streams/outbox.ts'
import { createRecovery, type Recovery } from './streams/recovery.ts'
import { startWriter, type Writer } from './streams/writer.ts'

/** Everything between the database and the sockets that knows nothing of clients' frames. */
export interface RealtimeCore {
  readonly hub: Hub
  readonly recovery: Recovery
  readonly sockets: Sockets
  readonly presence: PresenceTable
  readonly streams: Streams
  readonly announcer: Announcer
  readonly broker: Broker
  readonly instances: Instances
  /** Frames to a topic go through Bun's server, which exists only after the start. */
  publishThrough(publish: (topic: string, frame: string) => void): void
  /** What to do with presence changes, and with revocations told by another instance. */
  listen(on: CoreListeners): void
  stop(): Promise<void>
}

export interface CoreListeners {
  readonly presence: (changes: readonly PresenceChange[]) => void
  readonly revoked: (sessionIds: readonly string[]) => void
}

export interface CoreParts {
  readonly db: Database
  /** The server role's URL, for the connection that listens. */
  readonly databaseUrl: string
  /** Only this process can be on this database (embedded). */
  readonly alone: boolean
  readonly redisUrl: string | undefined
  readonly clock: Clock
  readonly log: Logger
  readonly metrics: Metrics
  readonly registry: Registry
  readonly presence?: Partial<PresenceTimes> | undefined
}

/** A lost tail is found within this time, in ms. */
const TAILS_MS = 2_000
/** How long after its line was lost a commit may still come through; statements take 30 s. */
const DOUBT_MS = 60_000

/** Starts streams, hub, bus and presence of an instance. */
export async function startCore(parts: CoreParts): Promise<RealtimeCore> {
  const { db, clock, log, registry } = parts
  let publish: (topic: string, frame: string) => void = () => undefined
  let listeners: CoreListeners = { presence: () => undefined, revoked: () => undefined }
  const sockets = createSockets()
  const heads = createHeads(db)
  const recovery = createRecovery(db, heads, registry.kinds, nativeRenderer)
  const hub = createHub({
    recovery,
    registry,
    clock,
    log,
    render: nativeRenderer,
    publish: (t, f) => publish(t, f),
  })
  const presence = createPresence({
    clock,
    times: parts.presence,
    bus: () => bus,
    announce: (changes) => listeners.presence(changes),
    speaksForGone: () => [...instances.others()].every((other) => instances.id < other),
  })
  const instances = await startInstances(db, clock, log, {
    gone: (id) => presence.gone(id),
    // Whoever it is tells what it has, on being greeted.
    found: () => bus.send(['hello']),
  })

  const checkTails = () =>
    hub.checkTails().catch((error: unknown) => log.debug('tails not checked', { error }))
  const broker = chooseBroker(parts, () => instances.others().size > 0)
  const bus = createBus(broker, instances.id, {
    events: (events) => hub.receive(events),
    other: (from, message) => hear(from, message),
    gap() {
      void checkTails()
      bus.send(['hello'])
      presence.tellAll()
    },
  })

  const hear = (from: string, message: BusMessage) => {
    const unknown = message[0] !== 'bye' && instances.met(from)
    if (unknown && message[0] !== 'hello') bus.send(['hello'])
    switch (message[0]) {
      case 'tell':
        sockets.tell(message[1], message[2], message[3])
        break
      case 'announce':
        publish(message[1], message[2])
        break
      case 'revoked':
        listeners.revoked(message[1])
        break
      case 'presence':
        presence.report(from, message[1], message[2])
        break
      case 'hello':
        presence.tellAll()
        break
      case 'bye':
        instances.left(from)
        break
      case 'events':
        break
    }
  }

  await bus.start()

  const publishEvents = (events: readonly StreamEvent[]) => {
    hub.receive(events)
    // Alone, there is nobody to tell; a newcomer says hello before it serves anybody.
    if (instances.others().size === 0) return
    const rows = events.map((e) => [e.channel, e.offset, e.type, e.payload] as const)
    bus.send(['events', rows])
  }
  let doubtfulUntilMs = 0
  const doubt = () => (doubtfulUntilMs = clock.monotonicMs() + DOUBT_MS)
  const streamParts = { clock, log, db, heads, recovery, registry, publish: publishEvents, doubt }
  const writer = startWriter(streamParts)
  const lag = observeOutbox(parts)
  const tails = clock.setInterval(() => {
    const doubtful = clock.monotonicMs() < doubtfulUntilMs
    if (doubtful || instances.others().size > 0) void checkTails()
  }, TAILS_MS)

  return {
    hub,
    recovery,
    sockets,
    presence,
    broker,
    instances,
    streams: streamsPort(writer, recovery, streamParts),
    announcer: announcerPort({ sockets, presence, bus, publish: (t, f) => publish(t, f) }),
    publishThrough: (through) => (publish = through),
    listen: (on) => (listeners = on),
    async stop() {
      tails.cancel()
      lag.cancel()
      presence.stop()
      await writer.stop()
      bus.send(['bye'])
      // What was said in this tick goes out before the line is cut.
      await new Promise((resolve) => setImmediate(resolve))
      await instances.stop()
      await broker.close()
    },
  }
}

function chooseBroker(parts: CoreParts, others: () => boolean): Broker {
  const { redisUrl, alone, databaseUrl, db, log } = parts
  if (redisUrl !== undefined) return createRedisBroker(redisUrl, log)
  if (alone) return createMemoryBroker()
  return createPostgresBroker(databaseUrl, db, log, others)
}

function streamsPort(
  writer: Writer,
  recovery: Recovery,
  parts: Omit<BatchParts, 'numbering' | 'queued'>,
): Streams {
  const { heads, publish, doubt } = parts
  const numbering = createMutex()
  const batchParts = { heads, numbering, publish, queued: () => writer.kick(), doubt }
  return {
    async enqueue(sql, emissions) {
      await insertOutbox(sql, emissions)
    },
    committed: () => writer.kick(),
    batch: (sql) => createStreamBatch(sql, batchParts),
    page: (channel, after, limit) => recovery.range(channel, { after, limit, reverse: false }),
  }
}

interface AnnouncerParts {
  readonly sockets: Sockets
  readonly presence: PresenceTable
  readonly bus: Bus
  readonly publish: (topic: string, frame: string) => void
}

function announcerPort({ sockets, presence, bus, publish }: AnnouncerParts): Announcer {
  return {
    announce(event, id, payload) {
      const channel = `${event.channel.namespace}:${id}`
      const frame = ephemeralFrame(event.type, channel, payload)
      publish(channel, frame)
      bus.send(['announce', channel, frame])
    },
    tell(userId, event, id, payload, exceptConnectionId) {
      const channel = `${event.channel.namespace}:${id}`
      const frame = ephemeralFrame(event.type, channel, payload)
      const here = sockets.tell(userId, frame, exceptConnectionId)
      const elsewhere = presence.elsewhere(userId)
      if (elsewhere === 0) return here
      bus.send(['tell', userId, frame, exceptConnectionId ?? null])
      return here + elsewhere
    },
    revoked: (sessionIds) => bus.send(['revoked', sessionIds]),
  }
}
