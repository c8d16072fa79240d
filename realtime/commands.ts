import { compile, input, oneOf, t, Timestamp, type TObject, Uuid } from '../src/base/schema.ts'
import { CHANNEL_NAME_MAX } from '../src/kernel/channel.ts'

/**
 * The commands of the native protocol itself: what a client may say that is not an operation, and
 * what it is answered. The documents are made from this table too.
 */

const ChannelName = t.String({ minLength: 3, maxLength: CHANNEL_NAME_MAX })
const PositionIn = input({
  epoch: t.String({ maxLength: 64 }),
  offset: t.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
})
const PublicationOut = t.Object({
  offset: t.Integer({ minimum: 1 }),
  type: t.String(),
  payload: t.Unknown(),
})

/** The longest list that `history` gives. */
export const HISTORY_MAX = 500

const commands = {
  authenticate: {
    summary: 'Says who this socket is, or renews its token',
    payload: input({ token: t.String({ minLength: 1, maxLength: 8_192 }) }),
    answer: t.Object({ user_id: Uuid, session_id: Uuid, expires_at: Timestamp }),
  },
  subscribe: {
    summary: 'Joins a channel; with `recover`, gets what was missed since a position',
    payload: input({ channel: ChannelName, recover: t.Optional(PositionIn) }),
    answer: t.Object({
      channel: t.String(),
      epoch: t.String(),
      offset: t.Integer(),
      recovered: t.Boolean(),
      publications: t.Array(PublicationOut),
    }),
  },
  unsubscribe: {
    summary: 'Leaves a channel',
    payload: input({ channel: ChannelName }),
    answer: t.Object({ channel: t.String() }),
  },
  history: {
    summary: 'Events of a channel that are still kept',
    payload: input({
      channel: ChannelName,
      limit: t.Optional(t.Integer({ minimum: 0, maximum: HISTORY_MAX })),
      since: t.Optional(PositionIn),
      reverse: t.Optional(t.Boolean()),
    }),
    answer: t.Object({
      epoch: t.String(),
      offset: t.Integer(),
      publications: t.Array(PublicationOut),
    }),
  },
  presence: {
    summary: 'Who is on a channel',
    payload: input({ channel: ChannelName }),
    answer: t.Object({
      users: t.Array(
        t.Object({
          user_id: Uuid,
          status: oneOf(['online', 'offline', 'away', 'busy']),
          connections: t.Integer({ minimum: 0 }),
        }),
      ),
    }),
  },
  presence_stats: {
    summary: 'How many are on a channel',
    payload: input({ channel: ChannelName }),
    answer: t.Object({ users: t.Integer(), connections: t.Integer() }),
  },
  ping: {
    summary: 'Is the line alive? Answered with `pong`; `heartbeat` is the same',
    payload: t.Object({}),
    answer: t.Object({ server_time: Timestamp }),
  },
} as const satisfies Record<string, { summary: string; payload: TObject; answer: TObject }>

export type CommandName = keyof typeof commands
export const COMMANDS = commands

/** The first frame of the server. */
export const Connected = t.Object({
  connection_id: Uuid,
  user_id: Uuid,
  session_id: Uuid,
  server_time: Timestamp,
  heartbeat_ms: t.Integer({ minimum: 1 }),
  subscriptions: t.Array(t.Object({ channel: t.String(), epoch: t.String(), offset: t.Integer() })),
})

/** Compiled checks of the commands' payloads. */
export const commandValidators = Object.fromEntries(
  Object.entries(commands).map(([name, { payload }]) => [name, compile(payload)]),
) as Record<CommandName, ReturnType<typeof compile>>
