import type { PresenceAudience } from '../src/kernel/feature.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import type { PresenceChange } from './presence.ts'

/** Users whose peers are looked up in one query. */
const USERS_AT_ONCE = 1_000

/**
 * Tells the people who share something with a user that they have come, gone or changed, after the
 * features have heard who has left. Peers who are not connected cost nothing.
 */
export async function announcePresence(
  kernel: Kernel,
  audiences: readonly PresenceAudience[],
  changes: readonly PresenceChange[],
): Promise<void> {
  for (let i = 0; i < changes.length; i += USERS_AT_ONCE) {
    const some = changes.slice(i, i + USERS_AT_ONCE)
    const gone = some.filter(({ status }) => status === 'offline').map(({ userId }) => userId)
    if (gone.length > 0) for (const { left } of audiences) await left?.(kernel, gone)
    for (const audience of audiences) await tellPeers(kernel, audience, some)
  }
}

async function tellPeers(
  kernel: Kernel,
  audience: PresenceAudience,
  changes: readonly PresenceChange[],
): Promise<void> {
  const byUser = new Map(changes.map((change) => [change.userId, change]))
  const peers = await audience.peers(kernel, [...byUser.keys()])
  const last_seen = kernel.clock.iso()
  for (const { userId, peerId, channelId } of peers) {
    const change = byUser.get(userId)
    if (change === undefined || kernel.presence.connections(peerId) === 0) continue
    if (change.changed) {
      const update = { user_id: userId, status: change.status, last_seen }
      kernel.announcer.tell(peerId, audience.update, channelId, update)
    }
    if (change.device && change.status !== 'offline') {
      kernel.announcer.tell(peerId, audience.device, channelId, { user_id: userId })
    }
  }
}
