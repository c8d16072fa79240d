import type { PresenceAudience } from '../src/kernel/feature.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import type { PresenceChange } from './presence.ts'

/** Users whose peers are looked up in one query. */
const USERS_AT_ONCE = 1_000

/**
 * Tells the people who share something with a user that they have come, gone or changed, and
 * writes down when those who left were last seen. Peers who are not connected cost nothing.
 */
export async function announcePresence(
  kernel: Kernel,
  audiences: readonly PresenceAudience[],
  changes: readonly PresenceChange[],
): Promise<void> {
  for (let i = 0; i < changes.length; i += USERS_AT_ONCE) {
    const some = changes.slice(i, i + USERS_AT_ONCE)
    await writeLastSeen(kernel, some)
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

async function writeLastSeen(kernel: Kernel, changes: readonly PresenceChange[]): Promise<void> {
  const gone = changes.filter(({ status }) => status === 'offline').map(({ userId }) => userId)
  if (gone.length === 0) return
  await kernel.db.sql`
    insert into last_seen (user_id, at)
    select u.id, now() from unnest(${`{${gone.join(',')}}`}::text::uuid[]) u(id)
    join users on users.id = u.id
    order by u.id
    on conflict (user_id) do update set at = excluded.at`
}
