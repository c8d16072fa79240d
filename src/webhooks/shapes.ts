import {
  input,
  oneOf,
  page,
  pageFields,
  type Static,
  t,
  Timestamp,
  type TSchema,
  Uuid,
} from '../base/schema.ts'

/** What operations on webhooks take and answer. */

const nullable = <S extends TSchema>(schema: S) => t.Union([schema, t.Null()])

const Url = t.String({
  minLength: 1,
  maxLength: 2_048,
  format: 'uri',
  description: 'Where to post to: https, port 443 or one from 1024 on, on the public internet',
})
const Description = t.String({ maxLength: 200, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })
const EventTypes = t.Array(t.String({ minLength: 1, maxLength: 100 }), {
  maxItems: 50,
  uniqueItems: true,
  description: 'Types of events; none for all, also those of later versions',
})
const Parallel = t.Integer({
  minimum: 1,
  maximum: 16,
  description: 'Deliveries at the same time. With 1, the default, events come in their order',
})

export const STATES = ['active', 'paused', 'disabled'] as const
const DELIVERY_STATES = ['pending', 'delivered', 'failed'] as const
export const DISABLED_BECAUSE = ['gone', 'failing', 'key_ended'] as const

const webhookFields = {
  id: Uuid,
  url: t.String(),
  description: t.String(),
  events: t.Array(t.String()),
  parallel: t.Integer(),
  state: oneOf(STATES),
  disabled_because: nullable(
    oneOf(
      DISABLED_BECAUSE,
      'gone: it answered 410; failing: all attempts failed for 3 days; key_ended: the API key ' +
        'whose it is was revoked or has expired',
    ),
  ),
  key_id: nullable(t.String({ description: 'The API key of the service whose it is' })),
  epoch: t.String({ description: 'The life of the stream in which `offset` is a place' }),
  offset: t.Integer({ description: 'The last event that was considered' }),
  missed: t.Integer({ description: 'Events that were forgotten before they were considered' }),
  missed_at: nullable(Timestamp),
  failing_since: nullable(Timestamp),
  previous_secret_until: nullable(Timestamp),
  created_at: Timestamp,
  updated_at: Timestamp,
}

/** An endpoint as its owner sees it. */
export const Webhook = t.Object(webhookFields, { $id: 'Webhook' })
export type Webhook = Static<typeof Webhook>

/** With how far it is behind, which takes a look at the stream. */
export const WebhookStanding = t.Object(
  {
    ...webhookFields,
    behind: t.Integer({ description: 'Events after `offset` that were not considered yet' }),
  },
  { $id: 'WebhookStanding' },
)
export type WebhookStanding = Static<typeof WebhookStanding>
export const Webhooks = page(WebhookStanding)

/** With the secret, which no other answer shows. */
export const WebhookWithSecret = t.Object({
  webhook: Webhook,
  secret: nullable(
    t.String({ description: '`whsec_…`; null when a request is repeated: it is shown once' }),
  ),
})
export type WebhookWithSecret = Static<typeof WebhookWithSecret>

/** One event for one endpoint. */
export const Delivery = t.Object(
  {
    id: Uuid,
    webhook_id: Uuid,
    message_id: t.String({ description: '`webhook-id`: the same for every copy of an event' }),
    type: t.String(),
    state: oneOf(DELIVERY_STATES),
    attempts: t.Integer(),
    due_at: nullable(t.String({ description: 'When it is sent next; null unless it is pending' })),
    attempted_at: nullable(Timestamp),
    status: nullable(t.Integer({ description: 'Of the last answer' })),
    error: nullable(t.String({ description: 'Why there was no answer, or not a good one' })),
    duration_ms: nullable(t.Integer()),
    answer: nullable(t.String({ description: 'How the last answer began, at most 1 KiB' })),
    created_at: Timestamp,
  },
  { $id: 'WebhookDelivery' },
)
export type Delivery = Static<typeof Delivery>
export const Deliveries = page(Delivery)

export const CreateInput = input({
  url: Url,
  events: t.Optional(EventTypes),
  description: t.Optional(Description),
  parallel: t.Optional(Parallel),
})
export const WebhookInput = input({ webhook_id: Uuid })
export const UpdateInput = input({
  webhook_id: Uuid,
  url: t.Optional(Url),
  events: t.Optional(EventTypes),
  description: t.Optional(Description),
  parallel: t.Optional(Parallel),
  state: t.Optional(
    oneOf(['active', 'paused'], 'One that the server has disabled is made active so'),
  ),
})
export type Change = Omit<Static<typeof UpdateInput>, 'webhook_id'>

const DAY_S = 86_400
/** How long deliveries are signed with the old secret too, unless said otherwise. */
export const OVERLAP_S = DAY_S
export const RotateInput = input({
  webhook_id: Uuid,
  overlap_seconds: t.Optional(
    t.Integer({
      minimum: 0,
      maximum: 7 * DAY_S,
      default: OVERLAP_S,
      description: 'How long deliveries are signed with the old secret too; 0 ends it at once',
    }),
  ),
})
export const ReplayInput = input({
  webhook_id: Uuid,
  offset: t.Optional(
    t.Integer({ minimum: 0, description: 'Everything after this place in the stream' }),
  ),
  epoch: t.Optional(
    t.String({ minLength: 1, maxLength: 50, description: 'The life that `offset` belongs to' }),
  ),
  since: t.Optional(t.String({ format: 'date-time', description: 'Everything from then on' })),
})
export const Replayed = t.Object({
  webhook: Webhook,
  events: t.Integer({ description: 'Events from there on, before they are chosen by type' }),
})
export const DeliveriesInput = input({
  webhook_id: Uuid,
  ...pageFields,
  state: t.Optional(oneOf(DELIVERY_STATES)),
})
export const DeliveryInput = input({ webhook_id: Uuid, delivery_id: Uuid })
export const EventTypeList = t.Object({
  items: t.Array(t.Object({ type: t.String(), description: t.String(), data: t.Unknown() })),
})
