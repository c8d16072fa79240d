/**
 * Messaging: a routing directory for end-to-end encrypted conversations. It knows who writes to
 * whom and when, and nothing of what they write: no content and no keys, stored or logged.
 *
 * Invariants: a conversation is a pair and stays that pair; a message id is unique for its sender;
 * marking as read is the recipient's. Who has blocked whom, who has left and who has written is
 * remembered with the pair (`conversations.ts`), so that no frame asks the database for it. Sending
 * and marking are batches; typing touches memory only.
 * May import the kernel, the exports of `auth` and `blocks`, and its own tables.
 */
import { Contacts } from '../blocks/index.ts'
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
import { exportMessaging, forgetMessaging, forgetQueue, KEPT } from './personal.ts'
import { tellOfBlocks } from './presence.ts'
import { markRead } from './read.ts'
import { sendMessage } from './send.ts'
import { peersOf } from './store.ts'

export { receivedFrom } from './store.ts'

/** Messaging, as `features.ts` mounts it. */
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
  queues: [forgetQueue],
  personalData: { export: exportMessaging, forget: forgetMessaging, kept: KEPT },
  async start(kernel) {
    const endTelling = tellOfBlocks(kernel)
    const endPolling = await kernel.use(Contacts).start()
    return async () => {
      endTelling()
      await endPolling()
    }
  },
})
