// The events of Rialto's native frames: the peers send the same bytes, only without storing
// anything. Events of one channel are numbered, as ours are.
import { readFileSync } from 'node:fs'

const partners = new Map()
for (const line of readFileSync(process.env.USERS, 'utf8').trim().split('\n')) {
  const [id, , conversation] = line.split('\t')
  const members = partners.get(conversation) ?? []
  members.push(id)
  partners.set(conversation, members)
}

const offsets = new Map()

function next(channel) {
  const offset = (offsets.get(channel) ?? 0) + 1
  offsets.set(channel, offset)
  return offset
}

/** The other user of a conversation. */
export function partnerOf(conversation, user) {
  const [first, second] = partners.get(conversation)
  return first === user ? second : first
}

/** A post to a channel of the bench. */
export function post(channel, data) {
  return { type: 'post', channel, offset: next(channel), payload: { data } }
}

/** The metadata of a message, for its recipient. */
export function message(sender, { recipient_id, message_type, id }) {
  const channel = `user:${recipient_id}`
  return {
    type: 'message',
    channel,
    offset: next(channel),
    payload: {
      id,
      conversation_id: sender,
      sender_id: sender,
      recipient_id,
      message_type,
      timestamp: new Date().toISOString(),
      session_id: null,
      is_read: false,
    },
  }
}

/** Typing, for the other user of the conversation. */
export function typing(user, { conversation_id, is_typing }) {
  return {
    type: 'typing_indicator',
    channel: `conversation:${conversation_id}`,
    payload: {
      user_id: user,
      conversation_id,
      is_typing,
      timestamp: new Date().toISOString(),
    },
  }
}
