import { Contacts } from '../blocks/index.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { presenceEvent } from './channels.ts'
import { Conversations } from './conversations.ts'
import { otherSide, type Pair, showsPresence } from './pairs.ts'

/**
 * When somebody has blocked or unblocked somebody, tells both what they may now know of the other:
 * nothing else would end the "online" that a blocked person saw last.
 * @returns how to stop that
 */
export function tellOfBlocks(kernel: Kernel): () => void {
  // First, so that it has forgotten the pair when this reads it again.
  const conversations = kernel.use(Conversations)
  return kernel.use(Contacts).onChanged((changes, made) => {
    // Told from one instance: what another has made, it has told itself.
    if (changes === 'all' || made === 'elsewhere') return
    for (const { userId, otherId } of changes) {
      if (otherId === undefined) continue
      conversations.byUsers(userId, otherId).then(
        (pair) => pair && tellBoth(kernel, pair),
        (error: unknown) => kernel.log.warn('presence not told after a block', { error }),
      )
    }
  })
}

function tellBoth({ announcer, presence }: Kernel, pair: Pair): void {
  for (const userId of [pair.userA, pair.userB]) {
    const viewerId = otherSide(pair, userId) as string
    const status = showsPresence(pair, userId) ? presence.status(userId) : 'offline'
    // When they were last seen would say when the block was made.
    const payload = { user_id: userId, status, last_seen: null }
    announcer.tell(viewerId, presenceEvent, pair.id, payload)
  }
}
