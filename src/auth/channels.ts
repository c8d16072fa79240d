import { channel } from '../kernel/channel.ts'

/** What concerns one person; each of their connections is subscribed from the start. */
export const userChannel = channel('user', {
  description: 'Everything that concerns the user alone, on all of their devices',
  recovery: 'stream',
  personal: true,
  mayRead: (_kernel, actor, id) => id === actor.userId,
})
