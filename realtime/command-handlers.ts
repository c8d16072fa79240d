import type { Authenticator } from '../src/auth/index.ts'
import { Failure } from '../src/base/errors.ts'
import type { Static } from '../src/base/schema.ts'
import type { Actor } from '../src/kernel/access.ts'
import { type Channel, splitChannel } from '../src/kernel/channel.ts'
import type { Registry } from '../src/kernel/feature.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import type { GatewayLimits } from './codes.ts'
import { type CommandName, type COMMANDS, commandValidators, HISTORY_MAX } from './commands.ts'
import type { Connection } from './connection.ts'
import type { WaitingFrame } from './dialects/dialect.ts'
import { publicationsJson, rawAckFrame } from './dialects/native.ts'
import type { Hub, Subscribed } from './hub.ts'
import type { Recovery } from './streams/recovery.ts'

/** Handles one command: answers at once, or returns a promise that answers. */
export type CommandHandler = (
  connection: Connection,
  frame: WaitingFrame,
) => Promise<void> | undefined

export interface CommandParts {
  readonly kernel: Kernel
  readonly channels: Registry['channels']
  readonly hub: Hub
  readonly recovery: Recovery
  readonly limits: GatewayLimits
  readonly authenticator: Authenticator
  /** The socket has said for the first time who it is. */
  readonly begin: (connection: Connection, actor: Actor) => void
}

type Payload<W extends CommandName> = Static<(typeof COMMANDS)[W]['payload']>

function checked<W extends CommandName>(command: W, frame: WaitingFrame): Payload<W> {
  const validator = commandValidators[command]
  if (validator.check(frame.payload)) return frame.payload as Payload<W>
  const errors = validator.errors(frame.payload)
  throw new Failure('validation_failed', `Invalid payload of ${command}`, { errors })
}

/** Makes the handlers of the protocol's commands. */
export function createCommandHandlers(
  parts: CommandParts,
): Readonly<Record<CommandName, CommandHandler>> {
  const reply = (connection: Connection, { id }: WaitingFrame, payload: string) => {
    if (id !== undefined) connection.send(rawAckFrame(id, payload))
  }
  return {
    // Answered before the table is asked, also to those who have not said who they are.
    ping: () => undefined,
    authenticate: (connection, frame) => authenticate(parts, connection, frame, reply),
    subscribe: (connection, frame) => subscribe(parts, connection, frame),
    unsubscribe(connection, frame) {
      const { channel } = checked('unsubscribe', frame)
      if (channel === personal(connection)) {
        throw new Failure('forbidden', 'The personal channel belongs to the connection')
      }
      if (connection.subscriptions.delete(channel)) parts.hub.detach(connection, channel)
      reply(connection, frame, JSON.stringify({ channel }))
      return undefined
    },
    history: (connection, frame) => history(parts, connection, frame, reply),
    async presence(connection, frame) {
      const { channel } = checked('presence', frame)
      const users = await membersOf(parts, connection, channel)
      reply(connection, frame, JSON.stringify({ users }))
    },
    async presence_stats(connection, frame) {
      const { channel } = checked('presence_stats', frame)
      const present = (await membersOf(parts, connection, channel)).filter((u) => u.connections > 0)
      const connections = present.reduce((sum, user) => sum + user.connections, 0)
      reply(connection, frame, JSON.stringify({ users: present.length, connections }))
    },
  }
}

type Reply = (connection: Connection, frame: WaitingFrame, payload: string) => void

/** The channel that every connection of a user is subscribed to from the start. */
export function personal(connection: Connection): string {
  return `user:${connection.actor?.userId}`
}

function authenticate(
  { authenticator, begin }: CommandParts,
  connection: Connection,
  frame: WaitingFrame,
  reply: Reply,
): undefined {
  const { token } = checked('authenticate', frame)
  let actor: Actor
  try {
    actor = authenticator.verify(token)
  } catch (error) {
    // A socket that is nobody's has nothing to lose by trying again elsewhere.
    if (connection.actor === undefined) connection.close('unauthenticated')
    throw error
  }
  const before = connection.actor
  if (before !== undefined && before.userId !== actor.userId) {
    throw new Failure('forbidden', 'This socket belongs to somebody else')
  }
  connection.actor = actor
  const { userId, sessionId, expiresAtMs } = actor
  if (before === undefined) begin(connection, actor)
  if (connection.closedAs !== undefined) return undefined
  const expiresAt = new Date(expiresAtMs).toISOString()
  const answer = { user_id: userId, session_id: sessionId, expires_at: expiresAt }
  reply(connection, frame, JSON.stringify(answer))
  return undefined
}

/** The channel's rules, once this reader has passed them. What one may not read does not exist. */
async function readable(
  { kernel, channels }: CommandParts,
  connection: Connection,
  name: string,
): Promise<Channel> {
  const parts = splitChannel(name)
  const space = parts === undefined ? undefined : channels.get(parts.namespace)
  if (parts === undefined || space === undefined) {
    throw new Failure('not_found', 'There is no such channel')
  }
  const may = await space.mayRead(kernel, connection.actor as Actor, parts.id)
  if (!may) throw new Failure('not_found', 'There is no such channel')
  return space
}

async function subscribe(
  parts: CommandParts,
  connection: Connection,
  frame: WaitingFrame,
): Promise<void> {
  const { channel, recover } = checked('subscribe', frame)
  const { hub, limits } = parts
  await readable(parts, connection, channel)
  const fresh = !connection.subscriptions.has(channel)
  if (fresh && connection.subscriptions.size >= limits.channelsMax) {
    throw new Failure('conflict', `At most ${limits.channelsMax} channels a connection`)
  }
  connection.subscriptions.add(channel)
  const answered = ({ epoch, offset, recovered, publications }: Subscribed) => {
    if (frame.id === undefined) return
    const payload =
      `{"channel":${JSON.stringify(channel)},"epoch":"${epoch}","offset":${offset},` +
      `"recovered":${recovered},"publications":[${publications}]}`
    // Not queued: what the topic brings from now on must not overtake it.
    connection.sendNow(rawAckFrame(frame.id, payload))
  }
  try {
    await hub.attach(connection, channel, recover, answered)
  } catch (error) {
    if (fresh) connection.subscriptions.delete(channel)
    throw error
  }
  // Closed meanwhile: the hub must not keep it.
  if (connection.closedAs !== undefined) hub.detach(connection, channel)
}

async function history(
  parts: CommandParts,
  connection: Connection,
  frame: WaitingFrame,
  reply: Reply,
): Promise<void> {
  const { channel, limit = 50, since, reverse = false } = checked('history', frame)
  const space = await readable(parts, connection, channel)
  if (space.recovery === 'none') throw new Failure('not_found', 'This channel keeps no history')
  const after = since?.offset ?? 0
  const { epoch, top, events } = await parts.recovery.range(channel, {
    after,
    limit: Math.min(limit, HISTORY_MAX),
    reverse,
  })
  if (since !== undefined && since.epoch !== epoch) {
    throw new Failure('conflict', 'The stream has begun anew: its epoch is another')
  }
  reply(
    connection,
    frame,
    `{"epoch":"${epoch}","offset":${top},"publications":[${publicationsJson(events)}]}`,
  )
}

async function membersOf(parts: CommandParts, connection: Connection, name: string) {
  const { kernel } = parts
  const space = await readable(parts, connection, name)
  const id = splitChannel(name)?.id ?? ''
  if (space.members === undefined) throw new Failure('not_found', 'This channel has no presence')
  // Who may not read has been refused above.
  const { userId: viewerId } = connection.actor as Actor
  const members = await space.members(kernel, id, viewerId)
  return members.map(({ userId, shown }) => {
    const status = shown ? kernel.presence.status(userId) : 'offline'
    // Who appears to be offline must not be given away by their connections.
    const connections = status === 'offline' ? 0 : kernel.presence.connections(userId)
    return { user_id: userId, status, connections }
  })
}
