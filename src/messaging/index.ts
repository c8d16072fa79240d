/**
 * Messaging: a routing directory for end-to-end encrypted conversations. It knows who writes to
 * whom and when, and nothing of what they write: no content and no keys, stored or logged.
 *
 * Invariants: a conversation is a pair and never changes; a message id is unique for its sender;
 * marking as read is the recipient's. Sending and marking are batches; typing touches memory only.
 * May import the kernel, `auth`'s exports and its own tables.
 */
import { feature } from '../kernel/feature.ts'
import {
  conversationChannel,
  deviceEvent,
  messageEvent,
  presenceEvent,
  receiptEvent,
  typingEvent,
} from './channels.ts'
import {
  conversationMessages,
  conversationsList,
  presenceGet,
  presenceMine,
  presenceUpdate,
  typing,
} from './operations.ts'
import { markRead } from './read.ts'
import { sendMessage } from './send.ts'
import { peersOf } from './store.ts'

export const messagingFeature = feature({
  name: 'messaging',
  operations: [
    sendMessage,
    markRead,
    typing,
    presenceUpdate,
    presenceMine,
    presenceGet,
    conversationsList,
    conversationMessages,
  ],
  channels: [conversationChannel],
  events: [messageEvent, receiptEvent, typingEvent, presenceEvent, deviceEvent],
  presence: { peers: peersOf, update: presenceEvent, device: deviceEvent },
})
