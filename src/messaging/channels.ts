import { userChannel } from '../auth/index.ts'
import { t, Uuid } from '../base/schema.ts'
import { channel, event } from '../kernel/channel.ts'
import { Conversations, isShown } from './conversations.ts'
import { Message, PresenceOutput, ReadReceipt, Typing } from './shapes.ts'
import { messageText } from './store.ts'

/** What the two people of a conversation hear of each other while both are there. */
export const conversationChannel = channel('conversation', {
  description: 'Typing and presence of the other side; reaches both members without subscribing',
  recovery: 'none',
  viaMembers: true,
  async mayRead(kernel, actor, id) {
    const pair = await kernel.use(Conversations).byId(id)
    return pair !== undefined && (pair.userA === actor.userId || pair.userB === actor.userId)
  },
  async members(kernel, id, viewerId) {
    const pair = await kernel.use(Conversations).byId(id)
    if (pair === undefined) return []
    const shown = async (userId: string) => ({
      userId,
      shown: userId === viewerId || (await isShown(kernel, pair, userId)),
    })
    return await Promise.all([pair.userA, pair.userB].map(shown))
  },
})

export const messageEvent = event(userChannel, 'message', {
  kind: 10,
  description: 'Metadata of a message, to all devices of the recipient and the sender’s others',
  payload: Message,
  content: messageText,
})

export const receiptEvent = event(userChannel, 'read_receipt', {
  kind: 11,
  description: 'The recipient has read a message; to the sender and the reader’s other devices',
  payload: ReadReceipt,
})

export const typingEvent = event(conversationChannel, 'typing_indicator', {
  description: 'The other side is typing or has stopped',
  payload: Typing,
})

export const presenceEvent = event(conversationChannel, 'presence_update', {
  description: 'The other side has come, gone or changed their status',
  payload: PresenceOutput,
})

export const deviceEvent = event(conversationChannel, 'device_online', {
  description:
    'A device of the other side has connected: what could not be delivered may be tried again',
  payload: t.Object({ user_id: Uuid }),
})
