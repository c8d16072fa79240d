import { channel, emission, event } from '../src/kernel/channel.ts'
import { feature } from '../src/kernel/feature.ts'
import { operation, user } from '../src/kernel/operation.ts'
import { input, t } from '../src/kernel/schema.ts'

/**
 * A feature of the bench alone: one durable channel that anybody may read and post to, so that a
 * fan-out to a thousand subscribers goes through everything that a room's would.
 */
const benchChannel = channel('bench', {
  description: 'Fan-out of the bench',
  recovery: 'stream',
  mayRead: () => true,
})

const post = event(benchChannel, 'post', {
  kind: 32_000,
  description: 'Something posted',
  payload: t.Object({ data: t.String() }),
})

const benchPost = operation('bench.post', {
  summary: 'Posts to a channel of the bench: committed and numbered before it is acknowledged',
  access: user(),
  limit: 'message',
  input: input({
    channel_name: t.String({ pattern: '^[a-z0-9-]{1,64}$' }),
    data: t.String({ maxLength: 1_024 }),
  }),
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
  operations: [benchPost],
  channels: [benchChannel],
  events: [post],
})
