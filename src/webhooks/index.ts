/**
 * Webhooks: telling other services what happens here, by signed posts to addresses that they give
 * (docs/webhooks.md).
 *
 * - What may be told is declared with `serviceEvent` and lies in one stream, written with the act.
 * - Each endpoint has a place in the stream (`consumer.ts`): what comes after it becomes
 *   deliveries, one for each event, which one sender at a time sends (`sender.ts`): at least once,
 *   in order.
 * - What was sent and what came back is kept for 14 days (`deliveries.ts`).
 * - Secrets are sealed; addresses are held to the public internet (`src/drivers/outbound`).
 *
 * May import the kernel, the database, the way out, and the indexes of `auth` and `api-keys`.
 */

import { feature } from '../kernel/feature.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { serviceChannel, serviceStreamEvent } from '../kernel/service-event.ts'
import { startConsumer } from './consumer.ts'
import { webhookDisabled } from './events.ts'
import { forgetDeliveries, wakeSenders } from './jobs.ts'
import { observeWebhooks } from './metrics.ts'
import {
  create,
  deliveries,
  eventTypes,
  get,
  list,
  remove,
  replay,
  retry,
  rotate,
  test,
  update,
} from './operations.ts'
import { personalData } from './personal.ts'
import { sendQueue } from './sender.ts'

export { forgetDeliveries, wakeSenders } from './jobs.ts'

/** Webhooks, as `features.ts` mounts them. */
export const webhooksFeature = feature({
  name: 'webhooks',
  operations: [
    create,
    list,
    eventTypes,
    get,
    update,
    remove,
    rotate,
    test,
    replay,
    deliveries,
    retry,
  ],
  channels: [serviceChannel],
  events: [serviceStreamEvent],
  jobs: [forgetDeliveries, wakeSenders],
  queues: [sendQueue],
  serviceEvents: [webhookDisabled],
  sealed: [
    { table: 'webhook_endpoints', column: 'secret', id: 'id' },
    { table: 'webhook_endpoints', column: 'previous_secret', id: 'id' },
  ],
  personalData,
  start(kernel: Kernel) {
    const stopFollowing = startConsumer(kernel)
    const metrics = observeWebhooks(kernel)
    return Promise.resolve(async () => {
      metrics.cancel()
      await stopFollowing()
    })
  },
})
