import type { Clock, Timer } from '../src/base/clock.ts'
import { type Channel, splitChannel } from '../src/kernel/channel.ts'
import type { Registry } from '../src/kernel/feature.ts'
import type { Logger } from '../src/observe/log.ts'
import type { StreamRenderer } from './dialects/dialect.ts'
import type { Publication } from './streams/publication.ts'
import type { Recovered, Recovery, Since, Single } from './streams/recovery.ts'

/** A numbered event on its way to the sockets. */
export interface StreamEvent {
  readonly channel: string
  readonly offset: number
  readonly type: string
  /** The payload as JSON text. */
  readonly payload: string
  /** A connection that has been told already, by its ack. */
  readonly skip: string | undefined
}

/** A socket as the hub sees it. */
export interface Subscriber {
  readonly id: string
  send(frame: string): void
  /** Joins the native topic of a channel. */
  join(topic: string): void
  leave(topic: string): void
  /** Events are missing that cannot be given any more: the client must start anew. */
  insufficient(channel: string): void
}

/** What a subscription answers. */
export interface Subscribed {
  readonly epoch: string
  readonly offset: number
  readonly recovered: boolean
  /** What was missed, as the elements of a JSON array. */
  readonly publications: string
}

/** Keeps the order of streams between the database and the sockets of this instance. */
export interface Hub {
  /** Takes numbered events, in any order, from this instance or another. */
  receive(events: readonly StreamEvent[]): void
  /**
   * Joins a subscriber to a channel and answers it in the same tick, so that no event can reach it
   * before its answer. Synchronous where the position is known already.
   */
  attach(
    to: Subscriber,
    channel: string,
    since: Since | undefined,
    answered: (answer: Subscribed) => void,
  ): Promise<void> | undefined
  detach(from: Subscriber, channel: string): void
  /** Looks whether the database is ahead of what was passed: finds lost tails. */
  checkTails(): Promise<void>
  /** Sum over channels of events held back for a gap. */
  heldBack(): number
  channels(): number
}

interface ChannelState {
  readonly name: string
  readonly space: Channel
  /** Last offset passed to the sockets; UNKNOWN until the first position read. */
  last: number
  epoch: string
  readonly members: Set<Subscriber>
  /** Subscriptions being made: their clients are not on the topic yet. */
  joining: Set<StreamEvent[]> | undefined
  /** Events that came before their predecessors. */
  early: Map<number, StreamEvent> | undefined
  gap: Timer | undefined
}

const UNKNOWN = -1
const NEWEST = { after: 0, limit: 1, reverse: true }
/** How long a gap is waited for before it is filled from Postgres, in ms. */
const GAP_MS_MAX = 50
/** Events held back for one gap; above that they are dropped and read again. */
const EARLY_MAX = 10_000
/** Channels asked for at once when looking for lost tails. */
const TAILS_AT_ONCE = 1_000

export interface HubParts {
  readonly recovery: Recovery
  readonly registry: Registry
  readonly clock: Clock
  readonly log: Logger
  /** How events are written for the sockets. */
  readonly render: Pick<StreamRenderer, 'eventFrame' | 'publicationsJson'>
  /** Bun's native publish: one write for all sockets of a topic. */
  readonly publish: (topic: string, frame: string) => void
}

/** Makes the hub of an instance. */
export function createHub(parts: HubParts): Hub {
  const states = new Map<string, ChannelState>()
  const { eventFrame } = parts.render

  const deliver = (state: ChannelState, event: StreamEvent) => {
    state.last = event.offset
    if (state.joining !== undefined) for (const tail of state.joining) tail.push(event)
    const frame = eventFrame(event.channel, event)
    // A personal channel has a few sockets, and one of them may know already; a topic of their
    // own would cost more than the loop.
    if (!state.space.personal) parts.publish(state.name, frame)
    else for (const member of state.members) if (member.id !== event.skip) member.send(frame)
  }

  const drain = (state: ChannelState) => {
    const { early } = state
    if (early === undefined) return
    for (
      let next = early.get(state.last + 1);
      next !== undefined;
      next = early.get(state.last + 1)
    ) {
      early.delete(next.offset)
      deliver(state, next)
    }
    for (const offset of early.keys()) if (offset <= state.last) early.delete(offset)
    if (early.size === 0) {
      state.early = undefined
      state.gap?.cancel()
      state.gap = undefined
    } else {
      state.gap ??= parts.clock.setTimeout(() => void fill(state), GAP_MS_MAX)
    }
  }

  const take = (state: ChannelState, event: StreamEvent) => {
    if (state.last !== UNKNOWN) {
      if (event.offset <= state.last) return
      if (event.offset === state.last + 1 || state.space.recovery === 'cache') {
        deliver(state, event)
        if (state.early !== undefined) drain(state)
        return
      }
    }
    const early = (state.early ??= new Map())
    if (early.size < EARLY_MAX) early.set(event.offset, event)
    if (state.last !== UNKNOWN) drain(state)
  }

  const passMissed = (state: ChannelState, { missed, top, epoch }: Single) => {
    if (missed !== undefined) {
      for (const publication of missed) {
        if (publication.offset === state.last + 1) deliver(state, toEvent(state.name, publication))
      }
      return
    }
    const { name, last } = state
    parts.log.warn('stream gap cannot be filled', { channel: name, after: last, top })
    for (const member of Array.from(state.members)) member.insufficient(name)
    state.last = top
    state.epoch = epoch
  }
  /** Of a cache channel only the newest is wanted, and nobody has missed what came before it. */
  const passNewest = (state: ChannelState, top: number, newest: readonly Publication[]) => {
    for (const publication of newest) {
      if (publication.offset > state.last) deliver(state, toEvent(state.name, publication))
    }
    state.last = Math.max(state.last, top)
  }
  /** Reads what is missing and passes it; where it is gone, everybody has to start anew. */
  const fill = async (state: ChannelState) => {
    state.gap = undefined
    const { name, epoch, last: offset } = state
    const current = () => states.get(name) === state
    try {
      if (state.space.recovery === 'cache') {
        const { top, events } = await parts.recovery.range(name, NEWEST)
        if (current()) passNewest(state, top, events)
      } else {
        const read = await parts.recovery.after(name, { epoch, offset })
        if (current()) passMissed(state, read)
      }
      if (!current()) return
      drain(state)
    } catch (error) {
      parts.log.warn('stream gap not filled yet', { channel: state.name, error })
      state.gap ??= parts.clock.setTimeout(() => void fill(state), 1_000)
    }
  }

  const stateOf = (name: string, space: Channel): ChannelState => {
    let state = states.get(name)
    if (state === undefined) {
      state = {
        name,
        space,
        last: UNKNOWN,
        epoch: '',
        members: new Set(),
        joining: undefined,
        early: undefined,
        gap: undefined,
      }
      states.set(name, state)
    }
    return state
  }
  const drop = (state: ChannelState) => {
    if (state.members.size > 0 || state.joining !== undefined) return
    state.gap?.cancel()
    states.delete(state.name)
  }
  const join = (state: ChannelState, to: Subscriber) => {
    state.members.add(to)
    if (!state.space.personal) to.join(state.name)
  }

  /** Reads the position, then compares, joins and answers in one tick: nothing can slip between. */
  const attachSlowly = async (
    to: Subscriber,
    state: ChannelState,
    since: Since | undefined,
    answered: (answer: Subscribed) => void,
  ) => {
    const tail: StreamEvent[] = []
    /** The answer has to hold everything up to where the reader joins. */
    const whole = since !== undefined || state.space.recovery === 'cache'
    state.joining ??= new Set()
    state.joining.add(tail)
    try {
      let read = await readPosition(parts, state, since)
      if (state.last === UNKNOWN) {
        state.last = read.top
        state.epoch = read.epoch
      } else if (whole && read.top < (tail[0]?.offset ?? state.last + 1) - 1) {
        // A later reading than ours has set the position: what lies between is nobody's tail.
        read = await readPosition(parts, state, since)
      }
      // The database is ahead of the hub: what lies between is about to come for everybody.
      if (whole && state.last < read.top) await fill(state)
      // While `tail` still takes it: nothing may reach the socket before its answer.
      drain(state)
      state.joining.delete(tail)
      join(state, to)
      answered(answerOf(parts.render, state, since, read, tail))
    } finally {
      state.joining?.delete(tail)
      if (state.joining?.size === 0) state.joining = undefined
      drop(state)
    }
  }

  return {
    receive(events) {
      for (const event of events) {
        const state = states.get(event.channel)
        if (state !== undefined) take(state, event)
      }
    },
    attach(to, name, since, answered) {
      const space = parts.registry.channels.get(splitChannel(name)?.namespace ?? '')
      if (space === undefined) throw new Error(`no such channel: ${name}`)
      if (space.recovery === 'none') {
        if (!space.viaMembers) to.join(name)
        answered({ epoch: '', offset: 0, recovered: false, publications: '' })
        return undefined
      }
      const state = stateOf(name, space)
      if (state.last === UNKNOWN || since !== undefined || space.recovery === 'cache') {
        return attachSlowly(to, state, since, answered)
      }
      join(state, to)
      const { epoch, last: offset } = state
      answered({ epoch, offset, recovered: false, publications: '' })
      return undefined
    },
    detach(from, name) {
      const state = states.get(name)
      if (state === undefined) return from.leave(name)
      if (!state.members.delete(from)) return
      if (!state.space.personal) from.leave(name)
      drop(state)
    },
    async checkTails() {
      const names = [...states.keys()]
      for (let i = 0; i < names.length; i += TAILS_AT_ONCE) {
        const tops = await parts.recovery.tops(names.slice(i, i + TAILS_AT_ONCE))
        for (const [name, top] of tops) {
          const state = states.get(name)
          if (state === undefined || state.last === UNKNOWN || top <= state.last) continue
          // It may be on its way: give it the time that a gap has.
          state.gap ??= parts.clock.setTimeout(() => void fill(state), GAP_MS_MAX)
        }
      }
    },
    heldBack() {
      let sum = 0
      for (const { early } of states.values()) sum += early?.size ?? 0
      return sum
    },
    channels: () => states.size,
  }
}

function toEvent(channel: string, publication: Publication): StreamEvent {
  return { ...publication, channel, skip: undefined }
}

async function readPosition(
  { recovery, render }: HubParts,
  { name, space }: ChannelState,
  since: Since | undefined,
): Promise<Recovered> {
  if (space.recovery === 'stream') return await recovery.read(name, since)
  const { epoch, top, events } = await recovery.range(name, NEWEST)
  return { epoch, top, missed: { count: events.length, text: render.publicationsJson(events) } }
}

/**
 * What the new subscriber gets: everything after `since` up to what the hub has passed. The read
 * ends at the database's top; what the hub has passed since then was kept in `tail`.
 */
function answerOf(
  { publicationsJson }: HubParts['render'],
  state: ChannelState,
  since: Since | undefined,
  { missed, top, epoch: readEpoch }: Recovered,
  tail: readonly StreamEvent[],
): Subscribed {
  const { epoch, last: offset } = state
  const later = tail.filter((event) => event.offset > top)
  if (state.space.recovery === 'cache') {
    const newest = later.length > 0 ? publicationsJson(later.slice(-1)) : (missed?.text ?? '')
    const recovered = since !== undefined && newest !== ''
    return { epoch, offset, recovered, publications: newest }
  }
  const nothing = { epoch, offset, recovered: false, publications: '' }
  if (since === undefined || missed === undefined || readEpoch !== epoch) return nothing
  // Never a part: what does not join up without a gap is not a recovery.
  const joinsUp = later.every((event, n) => event.offset === top + 1 + n)
  if (!joinsUp || missed.count + later.length !== offset - since.offset) return nothing
  const texts = [missed.text, publicationsJson(later)].filter((text) => text !== '')
  return { epoch, offset, recovered: true, publications: texts.join(',') }
}
