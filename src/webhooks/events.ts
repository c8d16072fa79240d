import { oneOf, t, Uuid } from '../base/schema.ts'
import { serviceEvent } from '../kernel/service-event.ts'
import { DISABLED_BECAUSE } from './shapes.ts'

export const webhookDisabled = serviceEvent('webhook.disabled', {
  description: 'The server has stopped to send to an endpoint; told to the others',
  data: t.Object({ webhook_id: Uuid, because: oneOf(DISABLED_BECAUSE) }),
})

/** The type of a message that `webhooks.test` sends; nobody subscribes to it. */
export const TEST_TYPE = 'webhook.test'
