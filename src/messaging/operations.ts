import { Failure } from '../base/errors.ts'
import { input, oneOf, page, pageFields, t, Timestamp, Uuid } from '../base/schema.ts'
import { type Actor, user } from '../kernel/access.ts'
import { badCursor, encodeCursor, pageOf, placeOfCursor } from '../kernel/cursor.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { operation } from '../kernel/operation.ts'
import { typingEvent } from './channels.ts'
import { Conversations, isShown } from './conversations.ts'
import { inTouch, otherSide, type Pair } from './pairs.ts'
import { ConversationItem, Message, PresenceOutput, STATUSES } from './shapes.ts'
import { lastSeenOf, listConversations, listMessages } from './store.ts'

/** The caller's conversations, newest first. */
export const conversationsList = operation('conversations.list', {
  summary: 'Your conversations, newest first',
  rest: 'GET /conversations',
  access: user(),
  limit: 'read',
  input: input(pageFields),
  output: page(ConversationItem),
  async run({ kernel, actor }, { limit = 50, cursor }) {
    const after = placeOfCursor(cursor)
    const rows = await listConversations(kernel, actor.userId, limit + 1, after)
    const { items, next_cursor } = pageOf(rows, limit, ({ at, id }) =>
      encodeCursor([at.toISOString(), id]),
    )
    return {
      items: items.map((row) => ({
        id: row.id,
        participant_id: row.participant_id,
        participant_name: row.participant_name,
        participant_avatar: row.participant_avatar,
        last_message: null,
        last_message_time: row.last_message_time?.toISOString() ?? null,
        unread_count: row.unread_count,
        participant_status: row.shown ? kernel.presence.status(row.participant_id) : 'offline',
      })),
      next_cursor,
    }
  },
})

/** Metadata of the messages of a conversation, newest first. */
export const conversationMessages = operation('conversations.messages', {
  summary: 'Metadata of a conversation’s messages, newest first',
  rest: 'GET /conversations/:conversation_id/messages',
  access: user(),
  limit: 'read',
  input: input({ conversation_id: Uuid, ...pageFields }),
  output: page(Message),
  async run({ kernel, actor }, { conversation_id, limit = 50, cursor }) {
    const pair = await ownPair(kernel, actor, conversation_id)
    const before = cursor === undefined ? undefined : messageCursor(cursor)
    const whose = { conversation: pair.number, viewerId: actor.userId }
    const { items, last } = await listMessages(kernel, whose, limit, before)
    return { items, next_cursor: last === undefined ? null : encodeCursor([String(last)]) }
  },
})

/** Tells the other side that one is typing. Memory only, at most once. */
export const typing = operation('typing_indicator', {
  summary: 'Tells the other side of a conversation that you are typing',
  rest: 'POST /conversations/:conversation_id/typing',
  access: user(),
  limit: 'ephemeral',
  input: input({ conversation_id: Uuid, is_typing: t.Boolean() }),
  output: t.Object({}),
  immediate({ kernel, actor, clock }, { conversation_id, is_typing }) {
    const id = conversation_id.toLowerCase()
    const pair = kernel.use(Conversations).known(id)
    const tell = (known: Pair) => {
      const other = otherSide(known, actor.userId)
      if (other === undefined) throw noConversation()
      if (!inTouch(known)) return {}
      const timestamp = clock.iso()
      const payload = { user_id: actor.userId, conversation_id: id, is_typing, timestamp }
      kernel.announcer.tell(other, typingEvent, id, payload)
      return {}
    }
    return pair === undefined ? ownPair(kernel, actor, id).then(tell) : tell(pair)
  },
})

/** Sets the caller's own status. */
export const presenceUpdate = operation('presence_update', {
  summary: 'Sets your status: online, away, busy, or offline to appear so',
  rest: 'PUT /users/me/presence',
  access: user(),
  limit: 'ephemeral',
  // Kisse's clients send their own `last_seen`; the server knows better.
  input: input({ status: oneOf(STATUSES), last_seen: t.Optional(t.Union([Timestamp, t.Null()])) }),
  output: PresenceOutput,
  immediate({ kernel, actor, clock }, { status }) {
    kernel.presence.setStatus(actor.userId, status)
    return {
      user_id: actor.userId,
      status: kernel.presence.status(actor.userId),
      last_seen: clock.iso(),
    }
  },
})

/** The caller's own presence: from memory. */
export const presenceMine = operation('presence.mine', {
  summary: 'Your own presence',
  rest: 'GET /users/me/presence',
  access: user(),
  limit: 'read',
  input: input({}),
  output: PresenceOutput,
  immediate({ kernel, actor, clock }) {
    const last_seen = clock.iso()
    return { user_id: actor.userId, status: kernel.presence.status(actor.userId), last_seen }
  },
})

/** Presence of somebody with whom the caller shares a conversation. */
export const presenceGet = operation('presence.get', {
  summary: 'Presence of somebody you share a conversation with',
  description:
    'People show their presence to those whom they have written to, unless one has blocked the ' +
    'other; to everybody else they appear to be offline.',
  rest: 'GET /users/:user_id/presence',
  access: user(),
  limit: 'read',
  input: input({ user_id: Uuid }),
  output: PresenceOutput,
  async run({ kernel, actor, clock }, input) {
    const user_id = input.user_id.toLowerCase()
    if (user_id !== actor.userId) {
      const pair = await kernel.use(Conversations).byUsers(actor.userId, user_id)
      if (pair === undefined) {
        throw new Failure('not_found', 'You share no conversation with such a user')
      }
      if (!(await isShown(kernel, pair, user_id))) {
        return { user_id, status: 'offline' as const, last_seen: null }
      }
    }
    const status = kernel.presence.status(user_id)
    // By the status, not by connections: who appears to be offline must not be given away.
    const seen = status === 'offline' ? await lastSeenOf(kernel, user_id) : clock.date()
    return { user_id, status, last_seen: seen?.toISOString() ?? null }
  },
})

const noConversation = () => new Failure('not_found', 'You have no such conversation')

/** The conversation, if the caller is in it; what one may not see does not exist. */
async function ownPair(kernel: Kernel, actor: Actor, id: string): Promise<Pair> {
  const pair = await kernel.use(Conversations).byId(id.toLowerCase())
  if (pair === undefined || otherSide(pair, actor.userId) === undefined) throw noConversation()
  return pair
}

function messageCursor(cursor: string): number {
  const text = Buffer.from(cursor, 'base64url').toString()
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(Number(text))) throw badCursor()
  return Number(text)
}
