import { Failure } from '../base/errors.ts'
import { input, oneOf, t } from '../base/schema.ts'
import { anyone } from '../kernel/access.ts'
import { type Kernel, service } from '../kernel/kernel.ts'
import { operation } from '../kernel/operation.ts'
import { addressGroup } from '../net/address.ts'
import { type Fact, factOf, type ProviderEvent, readEvent } from './facts.ts'
import { learn, openPlaces, openWallet } from './payments.ts'
import { checkSignature } from './signature.ts'
import { findPayment, noteEvent } from './store.ts'

/** What payment providers tell us, by webhook. */

/** Providers that the server takes events of. The scheme of all is Stripe's. */
const PROVIDERS = ['stripe'] as const
type Provider = (typeof PROVIDERS)[number]

/** The secrets of a provider; none when it is off. */
function secretsOf({ config }: Kernel, _provider: Provider): readonly string[] {
  return config.payments?.webhookSecrets ?? []
}

const Counts = service('payment webhook counts', ({ metrics }) => ({
  events: metrics.counter(
    'funding_webhook_events_total',
    'Events of payment providers by what came of them',
    ['provider', 'outcome'],
  ),
}))

/** An event of a payment provider. */
export const webhook = operation('funding.webhook', {
  summary: 'Where a payment provider tells of payments, refunds and disputes',
  description:
    'Signed over its bytes as Stripe does (`Stripe-Signature`), five minutes old at most. An ' +
    'event counts once, however often it comes, and so does a payment, whatever events tell of ' +
    'it. The user is `metadata.user_id` of the payment intent or of the checkout session, or the ' +
    'session’s `client_reference_id`; a payment for nobody known is kept for an administrator.',
  rest: 'POST /webhooks/payments/:provider',
  access: anyone(),
  limit: 'webhook',
  raw: {
    field: 'body',
    type: 'application/json',
    headers: { signature: 'stripe-signature' },
  },
  input: input({
    provider: t.String({ maxLength: 32 }),
    body: t.Uint8Array(),
    signature: t.Optional(t.String({ maxLength: 2_000 })),
  }),
  output: t.Object({ received: t.Literal(true), outcome: oneOf(['new', 'known']) }),
  async prepare({ kernel, clock, request, actor }, { provider, body, signature }) {
    const known = PROVIDERS.find((name) => name === provider)
    const secrets = known === undefined ? [] : secretsOf(kernel, known)
    if (secrets.length === 0) throw new Failure('not_found', 'No such payment provider')
    try {
      checkSignature(signature, body, secrets, clock.now())
    } catch (error) {
      kernel.use(Counts).events.labels({ provider, outcome: 'refused' }).inc()
      const target = { type: 'provider', id: provider }
      const action = 'funding.webhook_refused'
      // Whoever goes on gets a line now and then, not one for each.
      if (kernel.limiter.take('refusal', `webhook ${addressGroup(request.address)}`) === 0) {
        await kernel.audit.record({ caller: actor, request, action, outcome: 'denied', target })
      }
      throw error
    }
    const event = readEvent(body)
    if (event === undefined) throw new Failure('malformed_json', 'Signed, but not an event')
    const fact = believed(kernel, event)
    if (fact.kind === 'paid') {
      await openPlaces(kernel, provider, fact.asset)
      const before = await kernel.db.read((sql) => {
        return findPayment(sql, { provider, paymentId: fact.paymentId })
      })
      await openWallet(kernel, before?.userId ?? fact.userId, fact.asset)
    }
    return { event, fact }
  },
  async handler(ctx, { provider, body }, { event, fact }) {
    const { tx, clock, kernel, afterCommit } = ctx
    const paymentId = ('paymentId' in fact ? fact.paymentId : undefined) ?? ''
    const { id: eventId, type } = event
    const noted = { provider, eventId, type, paymentId, outcome: fact.kind, body }
    const isNew = await noteEvent(tx.sql, clock.date(), noted)
    if (isNew && fact.kind !== 'ignored' && paymentId !== '') {
      await learn(ctx, provider, { ...fact, paymentId })
    }
    afterCommit(() => {
      const outcome = isNew ? fact.kind : 'known'
      kernel.use(Counts).events.labels({ provider, outcome }).inc()
      if (!isNew || fact.kind !== 'unreadable') return
      const { why } = fact
      kernel.log.error('a payment event could not be read', { provider, eventId, type, why })
    })
    return { received: true, outcome: isNew ? 'new' : 'known' } as const
  },
})

/** In production nothing counts that happened in the provider's test world. */
function believed({ config }: Kernel, event: ProviderEvent): Fact {
  if (config.production && !event.live) return { kind: 'ignored' }
  return factOf(event)
}
