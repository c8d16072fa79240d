import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import { input, pageFields } from '../base/schema.ts'
import { type Caller, user } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import type { StreamPage } from '../kernel/kernel.ts'
import { operation } from '../kernel/operation.ts'
import { ServiceEventTypes } from '../kernel/service-event.ts'
import { attempt } from './attempt.ts'
import { describeDelivery, dueAgain, insertTried, listDeliveries } from './deliveries.ts'
import {
  createEndpoint,
  deleteEndpoint,
  describeEndpoint,
  type EndpointRow,
  holdEndpoint,
  listEndpoints,
  moveEndpoint,
  ownEndpoint,
  rotateSecret,
  streamHead,
  updateEndpoint,
  withBehind,
} from './endpoints.ts'
import { TEST_TYPE } from './events.ts'
import { findPlace } from './replay.ts'
import { sendQueue } from './sender.ts'
import {
  CreateInput,
  Deliveries,
  DeliveriesInput,
  Delivery,
  DeliveryInput,
  EventTypeList,
  OVERLAP_S,
  Replayed,
  ReplayInput,
  RotateInput,
  UpdateInput,
  Webhook,
  WebhookInput,
  Webhooks,
  WebhookStanding,
  WebhookWithSecret,
} from './shapes.ts'
import { secretText } from './signature.ts'

/**
 * What administrators and services ask about webhooks. A service has its own; administrators see
 * all. Where data go out and with which secret is for an administrator to say with a fresh second
 * factor.
 */

const operators = user({ roles: ['admin'], scope: 'webhooks:write' })
type Ctx = WriteContext<Caller>

const isPerson = ({ actor }: Ctx) => actor.kind === 'user'
const target = ({ id }: { readonly id: string }) => ({ type: 'webhook', id })
const hostOf = ({ url }: { readonly url: string }) => new URL(url).host

const described = ({ clock }: Ctx, row: EndpointRow) => describeEndpoint(row, clock.now())

/** A repeated request is answered without the secret. */
const secretOnce = {
  remember: ({ webhook }: WebhookWithSecret) => webhook.id,
  async replay(ctx: Ctx, id: string): Promise<WebhookWithSecret> {
    const row = await ownEndpoint(ctx.tx.sql, ctx.actor, id)
    return { webhook: described(ctx, row), secret: null }
  },
}

export const create = operation('webhooks.create', {
  summary: 'Have events posted to an address',
  description:
    'The answer shows the secret that deliveries are signed with (Standard Webhooks), and ' +
    'nothing shows it again. docs/webhooks.md says how to check signatures.',
  rest: 'POST /webhooks',
  status: 201,
  access: operators,
  limit: 'write',
  input: CreateInput,
  output: WebhookWithSecret,
  idempotent: true,
  secretOutput: secretOnce,
  stepUp: isPerson,
  prepare: ({ kernel }) => streamHead(kernel),
  async handler(ctx, wanted, head) {
    const { row, secret } = await createEndpoint(ctx, wanted, head as StreamPage)
    const { events, key_id } = row
    ctx.audit({
      action: 'webhooks.created',
      target: target(row),
      after: { host: hostOf(row), events, key_id },
    })
    return { webhook: described(ctx, row), secret: secretText(secret) }
  },
})

export const list = operation('webhooks.list', {
  summary: 'Webhooks, newest first: a service’s own, all for administrators',
  rest: 'GET /webhooks',
  access: operators,
  limit: 'read',
  input: input(pageFields),
  output: Webhooks,
  async run({ kernel, actor, clock }, { limit = 50, cursor }) {
    const head = await streamHead(kernel)
    const read = kernel.db.read((sql) => listEndpoints(sql, actor, limit, cursor))
    const { items, next_cursor } = await read
    return { items: items.map((row) => withBehind(row, head, clock.now())), next_cursor }
  },
})

export const eventTypes = operation('webhooks.event_types', {
  summary: 'Types of events that webhooks can be told',
  description: '`data` is the JSON Schema of what an event of the type says.',
  rest: 'GET /webhooks/event-types',
  access: operators,
  limit: 'read',
  input: input({}),
  output: EventTypeList,
  run({ kernel }) {
    const types = [...kernel.use(ServiceEventTypes).values()]
    const items = types
      .toSorted((a, b) => (a.type < b.type ? -1 : 1))
      .map(({ type, description, data }) => {
        return { type, description, data: JSON.parse(JSON.stringify(data)) as unknown }
      })
    return Promise.resolve({ items })
  },
})

export const get = operation('webhooks.get', {
  summary: 'A webhook',
  rest: 'GET /webhooks/:webhook_id',
  access: operators,
  limit: 'read',
  input: WebhookInput,
  output: WebhookStanding,
  async run({ kernel, actor, clock }, { webhook_id }) {
    const head = await streamHead(kernel)
    const row = await kernel.db.read((sql) => ownEndpoint(sql, actor, webhook_id))
    return withBehind(row, head, clock.now())
  },
})

export const update = operation('webhooks.update', {
  summary: 'Change a webhook, pause it or make it active again',
  description:
    'One that is made active goes on where it was, as far back as events are kept (3 days, ' +
    '10,000 events); `webhooks.replay` moves it elsewhere.',
  rest: 'PUT /webhooks/:webhook_id',
  access: operators,
  limit: 'write',
  input: UpdateInput,
  output: Webhook,
  stepUp: (ctx, { url }) => isPerson(ctx) && url !== undefined,
  async handler(ctx, { webhook_id, ...change }) {
    const { before, after } = await updateEndpoint(ctx, webhook_id, change)
    const shown = (row: EndpointRow) => {
      const { events, parallel, state } = row
      return { host: hostOf(row), events, parallel, state }
    }
    ctx.audit({
      action: 'webhooks.updated',
      target: target(after),
      before: shown(before),
      after: { ...shown(after), fields: Object.keys(change) },
    })
    wake(ctx, after)
    return described(ctx, after)
  },
})

/** Sees to it that somebody looks what waits. */
function wake(ctx: Ctx, { id, state }: EndpointRow): void {
  if (state === 'active') ctx.enqueue(sendQueue, { endpoint_id: id }, { key: id })
}

export const remove = operation('webhooks.delete', {
  summary: 'Delete a webhook, with the log of its deliveries',
  rest: 'DELETE /webhooks/:webhook_id',
  access: operators,
  limit: 'write',
  input: WebhookInput,
  output: Webhook,
  async handler(ctx, { webhook_id }) {
    const row = await deleteEndpoint(ctx, webhook_id)
    ctx.audit({ action: 'webhooks.deleted', target: target(row), before: { host: hostOf(row) } })
    return described(ctx, row)
  },
})

export const rotate = operation('webhooks.rotate_secret', {
  summary: 'Give a webhook a new secret',
  description:
    'Deliveries are signed with both secrets for `overlap_seconds`, a day unless said otherwise, ' +
    'so that the receiver can change over without refusing one. A still older one ends now.',
  rest: 'POST /webhooks/:webhook_id/rotate-secret',
  access: operators,
  limit: 'write',
  input: RotateInput,
  output: WebhookWithSecret,
  idempotent: true,
  secretOutput: secretOnce,
  stepUp: isPerson,
  async handler(ctx, { webhook_id, overlap_seconds = OVERLAP_S }) {
    const { row, secret } = await rotateSecret(ctx, webhook_id, overlap_seconds * 1_000)
    ctx.audit({
      action: 'webhooks.secret_rotated',
      target: target(row),
      after: { overlap_seconds },
    })
    return { webhook: described(ctx, row), secret: secretText(secret) }
  },
})

export const test = operation('webhooks.test', {
  summary: 'Send a test to a webhook, now and once, and see what comes of it',
  description: `A message of the type \`${TEST_TYPE}\`, whatever types the webhook is for.`,
  rest: 'POST /webhooks/:webhook_id/test',
  access: operators,
  limit: 'webhook_test',
  input: WebhookInput,
  output: Delivery,
  async run({ kernel, actor, clock }, { webhook_id }) {
    const { db } = kernel
    const row = await db.read((sql) => ownEndpoint(sql, actor, webhook_id))
    const data = { webhook_id: row.id }
    const body = JSON.stringify({ type: TEST_TYPE, timestamp: clock.iso(), data })
    const message = { id: `msg_${uuidv7(clock.now())}`, type: TEST_TYPE, body }
    const made = await attempt(kernel, row, message, new AbortController().signal)
    return await db.transaction(async ({ sql }) => {
      // Deleted while the answer was waited for: there is nothing to write down any more.
      await holdEndpoint(sql, actor, row.id)
      return describeDelivery(await insertTried(sql, row.id, clock.now(), message, made))
    })
  },
})

export const replay = operation('webhooks.replay', {
  summary: 'Send events again, from a place in the stream or a moment on',
  description:
    'Everything after `offset`, or from `since` on, is sent again in order, with the ids it had: ' +
    'who has seen an event knows it by `webhook-id`. A later place than the present one leaves ' +
    'out what lies between. Waiting deliveries are sent as well.',
  rest: 'POST /webhooks/:webhook_id/replay',
  access: operators,
  limit: 'write',
  input: ReplayInput,
  output: Replayed,
  prepare: ({ kernel }, { webhook_id: _id, ...wish }) => findPlace(kernel, wish),
  async handler(ctx, { webhook_id }, place) {
    const before = await holdEndpoint(ctx.tx.sql, ctx.actor, webhook_id)
    const row = await moveEndpoint(ctx, before, place)
    ctx.audit({
      action: 'webhooks.replayed',
      target: target(row),
      before: { epoch: before.epoch, offset: before.position },
      after: { epoch: row.epoch, offset: row.position },
    })
    return { webhook: described(ctx, row), events: place.events }
  },
})

export const deliveries = operation('webhooks.deliveries', {
  summary: 'What was sent to a webhook or waits to be, newest first',
  description: 'For 14 days.',
  rest: 'GET /webhooks/:webhook_id/deliveries',
  access: operators,
  limit: 'read',
  input: DeliveriesInput,
  output: Deliveries,
  run: ({ kernel, actor }, { webhook_id, limit = 50, cursor, state }) =>
    kernel.db.read(async (sql) => {
      const { id } = await ownEndpoint(sql, actor, webhook_id)
      return await listDeliveries(sql, id, { limit, cursor, state })
    }),
})

export const retry = operation('webhooks.retry', {
  summary: 'Send a delivery now, also one that has arrived or failed',
  description: 'With its id, so that a receiver who has it already knows it again.',
  rest: 'POST /webhooks/:webhook_id/deliveries/:delivery_id/retry',
  access: operators,
  limit: 'write',
  input: DeliveryInput,
  output: Delivery,
  async handler(ctx, { webhook_id, delivery_id }) {
    const row = await holdEndpoint(ctx.tx.sql, ctx.actor, webhook_id)
    const delivery = await dueAgain(ctx.tx.sql, row.id, delivery_id)
    if (row.state !== 'active') {
      throw new Failure('conflict', `The webhook is ${row.state}: make it active first`)
    }
    ctx.audit({
      action: 'webhooks.delivery_retried',
      target: target(row),
      after: { delivery_id: delivery.id, message_id: delivery.message_id },
    })
    wake(ctx, row)
    return describeDelivery(delivery)
  },
})
