import { input, oneOf, type Static, t, Timestamp, Uuid } from '../base/schema.ts'

/**
 * What a message may be. Enumerations and short tokens only: nothing is left to smuggle content
 * in, because this server must not see any.
 */
export const MESSAGE_TYPES = [
  'text',
  'image',
  'video',
  'audio',
  'file',
  'location',
  'contact',
  'system',
] as const
export type MessageType = (typeof MESSAGE_TYPES)[number]

export const MessageInput = input({
  recipient_id: Uuid,
  message_type: oneOf(MESSAGE_TYPES),
  id: t.Optional(Uuid),
  conversation_id: t.Optional(Uuid),
  session_id: t.Optional(
    t.Union([t.String({ pattern: '^[A-Za-z0-9._:-]{1,64}$', maxLength: 64 }), t.Null()]),
  ),
})
export type MessageInput = Static<typeof MessageInput>

const messageFields = {
  id: Uuid,
  conversation_id: Uuid,
  sender_id: Uuid,
  recipient_id: Uuid,
  message_type: oneOf(MESSAGE_TYPES),
  timestamp: Timestamp,
  session_id: t.Union([t.String(), t.Null()]),
  is_read: t.Boolean(),
}
/** Metadata of a message: all that the server knows. */
export const Message = t.Object(messageFields)
export type Message = Static<typeof Message>

export const SentMessage = t.Object({
  ...messageFields,
  delivered: t.Integer({ minimum: 0, description: 'Devices of the recipient that are connected' }),
})

export const ReadReceipt = t.Object({
  message_id: Uuid,
  conversation_id: Uuid,
  reader_id: Uuid,
  timestamp: Timestamp,
  up_to: t.Boolean({ description: 'True: everything up to this message has been read' }),
})
export type ReadReceipt = Static<typeof ReadReceipt>

export const STATUSES = ['online', 'offline', 'away', 'busy'] as const

export const PresenceOutput = t.Object({
  user_id: Uuid,
  status: oneOf(STATUSES),
  last_seen: t.Union([Timestamp, t.Null()]),
})

export const Typing = t.Object({
  user_id: Uuid,
  conversation_id: Uuid,
  is_typing: t.Boolean(),
  timestamp: Timestamp,
})

export const ConversationItem = t.Object({
  id: Uuid,
  participant_id: Uuid,
  participant_name: t.String(),
  participant_avatar: t.Union([t.String(), t.Null()]),
  last_message: t.Null({ description: 'Always null: the server has no content' }),
  last_message_time: t.Union([Timestamp, t.Null()]),
  unread_count: t.Integer({ minimum: 0 }),
  participant_status: oneOf(STATUSES),
})
