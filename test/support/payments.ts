import { createHmac } from 'node:crypto'
import type { TestServer } from './server.ts'
import { rest } from './people.ts'

/** A payment provider of the tests: signs as Stripe does. */

/** The endpoint's secret that the tests configure. */
export const WEBHOOK_SECRET = 'whsec_of_the_tests_and_of_nobody_else'

/** The header for a body. */
export function signed(
  body: string,
  options: { atMs?: number; secret?: string; scheme?: string } = {},
): string {
  const { atMs = Date.now(), secret = WEBHOOK_SECRET, scheme = 'v1' } = options
  const t = Math.floor(atMs / 1_000)
  return `t=${t},${scheme}=${createHmac('sha256', secret).update(`${t}.${body}`).digest('hex')}`
}

/** An event in its frame. */
export function eventOf(type: string, object: object, id: string = `evt_${crypto.randomUUID()}`) {
  return JSON.stringify({ id, object: 'event', type, livemode: false, data: { object } })
}

/** `payment_intent.succeeded`: cents in euros, for a user or for nobody known. */
export const succeeded = (payment: string, cents: number, userId?: string, more: object = {}) =>
  eventOf('payment_intent.succeeded', {
    id: payment,
    object: 'payment_intent',
    amount_received: cents,
    currency: 'eur',
    metadata: userId === undefined ? {} : { user_id: userId },
    ...more,
  })

/** `checkout.session.completed` of a payment. */
export const completed = (payment: string, cents: number, userId?: string, more: object = {}) =>
  eventOf('checkout.session.completed', {
    id: `cs_${payment}`,
    payment_intent: payment,
    payment_status: 'paid',
    amount_total: cents,
    currency: 'eur',
    client_reference_id: userId ?? null,
    metadata: {},
    ...more,
  })

/** `charge.refunded`: how much in all. */
export const refunded = (payment: string, cents: number) =>
  eventOf('charge.refunded', {
    id: `ch_${payment}`,
    payment_intent: payment,
    amount_refunded: cents,
  })

/** A dispute, as it is made and as it ends. */
export const disputed = (payment: string, cents: number, status: string) =>
  eventOf(`charge.dispute.${status === 'needs_response' ? 'created' : 'closed'}`, {
    id: `dp_${payment}`,
    payment_intent: payment,
    amount: cents,
    status,
  })

/** Delivers a body with a header; the header of a good provider unless another one is given. */
export const deliver = async (
  server: Pick<TestServer, 'url'>,
  body: string,
  header: string | undefined = signed(body),
  provider = 'stripe',
) => {
  const response = await fetch(`${server.url}/api/v1/webhooks/payments/${provider}`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(header === '' ? {} : { 'Stripe-Signature': header }),
    },
    body,
  })
  const answer = (await response.json()) as Record<string, unknown>
  return { status: response.status, body: answer }
}

/** What somebody has of an asset, as they see it. */
export async function walletOf(server: Pick<TestServer, 'url'>, who: { token: string }) {
  const { body } = await rest(server, 'GET', '/api/v1/wallet/balances', { token: who.token })
  const { balance, held, available } = body['items'].find(
    (item: { asset: string }) => item.asset === 'EUR',
  )
  return { balance, held, available } as { balance: string; held: string; available: string }
}
