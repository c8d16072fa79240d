import type { Clock } from '../base/clock.ts'
import { compile, type Static, t, Timestamp, type TObject, type Validator } from '../base/schema.ts'
import { isAdmin } from './access.ts'
import { channel, emission, event } from './channel.ts'
import type { Emission } from './effects.ts'
import { part } from './kernel.ts'

/**
 * What other services are told of what happens here: the events of one stream, by webhooks and to
 * administrators. What is not declared with `serviceEvent` never reaches them, since the streams of
 * users are their own.
 */
export interface ServiceEventType<S extends TObject = TObject> {
  /** `thing.past_event`: `user.closed`. */
  readonly type: string
  readonly description: string
  /** Ids and words of ours alone: it is kept and sent on where nobody can erase it. */
  readonly data: S
  readonly valid: Validator
}

/** What services may be told, by type. */
export const ServiceEventTypes = part<ReadonlyMap<string, ServiceEventType>>(
  'the service events of all features',
)

const TYPE = /^[a-z][a-z_]*\.[a-z][a-z_]*$/

/** Declares an event for services; list it in its feature's manifest. */
export function serviceEvent<S extends TObject>(
  type: string,
  { description, data }: { readonly description: string; readonly data: S },
): ServiceEventType<S> {
  if (!TYPE.test(type)) throw new Error(`not a type of event: ${type}`)
  return { type, description, data, valid: compile(data) }
}

/** The id of the one channel of its namespace. */
const ID = 'events'

export const serviceChannel = channel('service', {
  description: 'What webhooks tell other services, in the channel `service:events`; administrators',
  recovery: 'stream',
  mayRead: (_kernel, actor, id) => id === ID && isAdmin(actor),
})

/** Full name of the channel. */
export const SERVICE_STREAM = `${serviceChannel.namespace}:${ID}`

/** As events lie in the stream: what is common to all of them, and what is each one's. */
const ServiceEvent = t.Object({
  type: t.String(),
  timestamp: Timestamp,
  data: t.Record(t.String(), t.Unknown()),
})
/** An event as it lies in the stream. */
export type ServiceEvent = Static<typeof ServiceEvent>

/** The one kind of stream row for all of them: a version that does not know a type passes it on. */
export const serviceStreamEvent = event(serviceChannel, 'service_event', {
  kind: 30,
  description: 'Something that services are told',
  payload: ServiceEvent,
})

/**
 * Tells services, with the transaction in which it happens.
 * @example ctx.emit(tellServices(userClosed, ctx.clock, { user_id }))
 */
export function tellServices<S extends TObject>(
  { type, valid }: ServiceEventType<S>,
  clock: Clock,
  data: Static<S>,
): Emission {
  if (!valid.check(data)) {
    throw new Error(`not the data of ${type}: ${JSON.stringify(valid.errors(data))}`)
  }
  const payload = { type, timestamp: clock.iso(), data: data as Record<string, unknown> }
  return emission(serviceStreamEvent, ID, payload)
}
