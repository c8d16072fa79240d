import type { Static, TSchema } from '../base/schema.ts'
import type { Actor } from './access.ts'
import type { Emission, Recovery, Reference } from './effects.ts'
import type { Kernel } from './kernel.ts'

/** A namespace of channels (`namespace:id`): who may read it and what it keeps, in one place. */
export interface Channel {
  readonly namespace: string
  readonly description: string
  readonly recovery: Recovery
  /**
   * A personal channel belongs to one user: each of their connections is subscribed from the
   * start, and events go to those few connections directly instead of through a native topic.
   */
  readonly personal: boolean
  /**
   * Members are reached through their personal channel (a pair's typing and presence), so that a
   * client with a thousand conversations needs no thousand subscriptions.
   */
  readonly viaMembers: boolean
  /** Who belongs to it, as a reader may see them, where readers see each other's presence. */
  readonly members:
    | ((kernel: Kernel, id: string, viewerId: string) => Promise<readonly Member[]>)
    | undefined
  /** Whether this user may subscribe to `namespace:id` and read its history and presence. */
  readonly mayRead: (kernel: Kernel, actor: Actor, id: string) => boolean | Promise<boolean>
}

/** Somebody who belongs to a channel. */
export interface Member {
  readonly userId: string
  /** Shows their presence to whoever looks; else they appear to be offline. */
  readonly shown: boolean
}

/** Declares a namespace. */
export function channel(
  namespace: string,
  options: Pick<Channel, 'description' | 'recovery' | 'mayRead'> &
    Partial<Pick<Channel, 'personal' | 'viaMembers' | 'members'>>,
): Channel {
  return {
    personal: false,
    viaMembers: false,
    members: undefined,
    ...options,
    namespace,
  }
}

/** A kind of event on a channel. */
export interface EventType<S extends TSchema = TSchema> {
  readonly channel: Channel
  readonly type: string
  readonly payload: S
  readonly description: string
  /** Number in stream rows; unique in the product and never reused. Absent: never durable. */
  readonly kind: number | undefined
  /**
   * For events stored by reference: an SQL expression that gives the payload as JSON text, as its
   * content is now, for a stream row `e`; null where it no longer exists. The database renders it,
   * so that a thousand recoveries cost the server a thousand rows and not ten thousand.
   */
  readonly content: string | undefined
}

/** Declares an event. `kind` makes it storable; `content` lets it be stored by reference. */
export function event<S extends TSchema>(
  on: Channel,
  type: string,
  options: Pick<EventType<S>, 'payload' | 'description'> &
    Partial<Pick<EventType<S>, 'kind' | 'content'>>,
): EventType<S> {
  return { kind: undefined, content: undefined, ...options, channel: on, type }
}

/** Builds an emission with its payload stored in the stream row itself. */
export function emission<S extends TSchema>(
  of: EventType<S>,
  id: string,
  payload: Static<S>,
  ref?: Reference,
): Emission {
  const { channel: on, type, kind } = of
  return {
    channel: `${on.namespace}:${id}`,
    owner: on.personal ? id : undefined,
    recovery: on.recovery,
    type,
    kind,
    payload: JSON.stringify(payload),
    ref,
  }
}

/** Splits `namespace:id`; undefined when it is not of that form. */
export function splitChannel(name: string): { namespace: string; id: string } | undefined {
  const at = name.indexOf(':')
  if (at <= 0 || at === name.length - 1 || name.length > CHANNEL_NAME_MAX) return undefined
  return { namespace: name.slice(0, at), id: name.slice(at + 1) }
}

/** Longest channel name; they are keys in memory and rows in the database. */
export const CHANNEL_NAME_MAX = 255
