import { input, t } from '../src/base/schema.ts'
import { user } from '../src/kernel/access.ts'
import { channel, emission, event } from '../src/kernel/channel.ts'
import { feature } from '../src/kernel/feature.ts'
import { operation } from '../src/kernel/operation.ts'

/**
 * A feature of the bench alone: one durable channel that anybody may read and post to, so that a
 * fan-out to a thousand subscribers goes through everything that a room's would.
 */
const benchChannel = channel('bench', {
  description: 'Fan-out of the bench',
  recovery: 'stream',
  mayRead: () => true,
})

const Post = t.Object({ data: t.String() })

const post = event(benchChannel, 'post', {
  kind: 32_000,
  description: 'Something posted and kept',
  payload: Post,
})

/** As long as the durable one: a number in the place of the offset. */
const shout = event(benchChannel, 'post', {
  description: 'Something posted and not kept',
  payload: t.Object({ data: t.String(), number: t.Integer() }),
})

const PostInput = input({
  channel_name: t.String({ pattern: '^[a-z0-9-]{1,64}$' }),
  data: t.String({ maxLength: 1_024 }),
})

let number = 0

const benchPost = operation('bench.post', {
  summary: 'Posts to whoever is there: nothing is stored, as with the peers',
  access: user(),
  limit: 'message',
  input: PostInput,
  output: t.Object({}),
  immediate({ kernel }, { channel_name, data }) {
    kernel.announcer.announce(shout, channel_name, { data, number: ++number })
    return {}
  },
})

const benchStore = operation('bench.store', {
  summary: 'Posts to a stream: committed and numbered before it is acknowledged and seen',
  access: user(),
  limit: 'message',
  input: PostInput,
  output: t.Object({}),
  batch(ctx, items) {
    ctx.claim(items.map((item) => `bench:${item.input.channel_name}`))
    for (const [n, { input: given }] of items.entries()) {
      ctx.emit(n, emission(post, given.channel_name, { data: given.data }))
    }
    return Promise.resolve(items.map(() => ({})))
  },
})

export const benchFeature = feature({
  name: 'bench',
  operations: [benchPost, benchStore],
  channels: [benchChannel],
  events: [post, shout],
})
