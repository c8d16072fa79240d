import { isUuid } from '../base/ids.ts'
import { compile, type Static, t, type TSchema } from '../base/schema.ts'

/**
 * What the events of a payment provider say, in our words. Pure: bytes in, a fact out. The types
 * and fields are Stripe's; others that are compatible with it speak the same.
 */

/** Currencies that are assets here, by their code there. Both count in the same minor unit. */
const CURRENCIES: Readonly<Record<string, string>> = { eur: 'EUR' }

/** What an event says. Amounts in minor units. */
export type Fact =
  /** A payer has paid. `userId` is whom the shop has said it is for, if it has. */
  | {
      readonly kind: 'paid'
      readonly paymentId: string
      readonly asset: string
      readonly amount: bigint
      readonly userId: string | undefined
    }
  /** Given back to the payer: all refunds of this payment together. */
  | { readonly kind: 'refunded'; readonly paymentId: string; readonly total: bigint }
  /** The payer's bank wants it back; while that is open, and how it ended. */
  | {
      readonly kind: 'disputed'
      readonly paymentId: string
      readonly disputeId: string
      readonly amount: bigint
      readonly state: 'open' | 'won' | 'lost'
    }
  /** Nothing that concerns the ledger. */
  | { readonly kind: 'ignored' }
  /** Something that should concern it and cannot be read: a person has to look. */
  | { readonly kind: 'unreadable'; readonly paymentId: string | undefined; readonly why: string }

/** The frame of every event. */
const Event = compile(
  t.Object({
    id: t.String({ minLength: 1, maxLength: 255 }),
    type: t.String({ minLength: 1, maxLength: 255 }),
    livemode: t.Optional(t.Boolean()),
    data: t.Object({ object: t.Object({}) }),
  }),
)

/** An event, taken out of its frame. */
export interface ProviderEvent {
  readonly id: string
  readonly type: string
  /** False for what happened in the provider's test world. */
  readonly live: boolean
  readonly object: unknown
}

/** Reads the frame; undefined for what is none. */
export function readEvent(body: Uint8Array): ProviderEvent | undefined {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch {
    return undefined
  }
  if (!Event.check(value)) return undefined
  const { id, type, livemode, data } = value as {
    id: string
    type: string
    livemode?: boolean
    data: { object: unknown }
  }
  // The database's text cannot hold it, and no provider means it.
  if (`${id}${type}`.includes('\0')) return undefined
  return { id, type, live: livemode !== false, object: data.object }
}

const Cents = t.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const Id = t.String({ minLength: 1, maxLength: 255, pattern: '^[!-~]+$' })
const validId = compile(Id)
/** Expanded objects stand where their id would. */
const IdOrObject = t.Union([Id, t.Object({ id: Id }), t.Null()])
const Metadata = t.Optional(t.Union([t.Object({ user_id: t.Optional(t.Unknown()) }), t.Null()]))
const Currency = t.String({ minLength: 3, maxLength: 3 })

const Intent = t.Object({
  id: Id,
  amount_received: Cents,
  currency: Currency,
  metadata: Metadata,
})
const Session = t.Object({
  payment_intent: IdOrObject,
  payment_status: t.String(),
  amount_total: t.Union([Cents, t.Null()]),
  currency: t.Union([Currency, t.Null()]),
  client_reference_id: t.Optional(t.Unknown()),
  metadata: Metadata,
})
const Charge = t.Object({
  id: Id,
  payment_intent: t.Optional(IdOrObject),
  amount_refunded: Cents,
})
const Dispute = t.Object({
  id: Id,
  payment_intent: t.Optional(IdOrObject),
  charge: t.Optional(IdOrObject),
  amount: Cents,
  status: t.String(),
})

type Reader = (object: unknown) => Fact

/** A reader of one shape; what has another one is unreadable, never ignored. */
function reader<S extends TSchema>(schema: S, read: (object: Static<S>) => Fact): Reader {
  const valid = compile(schema)
  return (object) => {
    if (valid.check(object)) return read(object as Static<S>)
    const [first] = valid.errors(object)
    const paymentId = (object as { payment_intent?: unknown }).payment_intent
    const why = `${first?.path ?? ''}: ${first?.message ?? 'is not as expected'}`
    return {
      kind: 'unreadable',
      paymentId: validId.check(paymentId) ? (paymentId as string) : undefined,
      why,
    }
  }
}

const idOf = (reference: Static<typeof IdOrObject> | undefined): string | undefined =>
  typeof reference === 'string' ? reference : reference?.id

/** Whom a shop has named; a text that is no id is as none. */
const userOf = (...candidates: unknown[]): string | undefined => {
  const named = candidates.find(isUuid)
  return typeof named === 'string' ? named.toLowerCase() : undefined
}

function paid(
  paymentId: string | undefined,
  amount: number | null,
  currency: string | null,
  userId: string | undefined,
): Fact {
  if (paymentId === undefined || amount === null || amount === 0) return { kind: 'ignored' }
  const asset = CURRENCIES[currency?.toLowerCase() ?? '']
  if (asset !== undefined) {
    return { kind: 'paid', paymentId, asset, amount: BigInt(amount), userId }
  }
  return { kind: 'unreadable', paymentId, why: `${amount} of ${currency}, which is no asset here` }
}

const session = reader(Session, (s) => {
  // Of ways of paying that take days, the session is complete before the money is there.
  if (s.payment_status !== 'paid') return { kind: 'ignored' }
  const user = userOf(s.metadata?.user_id, s.client_reference_id)
  return paid(idOf(s.payment_intent), s.amount_total, s.currency, user)
})

const dispute = reader(Dispute, ({ id, payment_intent, charge, amount, status }) => {
  const paymentId = idOf(payment_intent) ?? idOf(charge)
  if (paymentId === undefined) return { kind: 'unreadable', paymentId, why: 'a dispute of nothing' }
  const state = disputeState(status)
  return { kind: 'disputed', paymentId, disputeId: id, amount: BigInt(amount), state }
})

function disputeState(status: string): 'open' | 'won' | 'lost' {
  if (status === 'lost') return 'lost'
  // Of a dispute that ends by a refund, the refund is told by itself.
  if (['won', 'warning_closed', 'charge_refunded', 'prevented'].includes(status)) return 'won'
  return 'open'
}

const READERS: Readonly<Record<string, Reader>> = {
  'payment_intent.succeeded': reader(Intent, ({ id, amount_received, currency, metadata }) =>
    paid(id, amount_received, currency, userOf(metadata?.user_id)),
  ),
  'checkout.session.completed': session,
  'checkout.session.async_payment_succeeded': session,
  'charge.refunded': reader(Charge, ({ id, payment_intent, amount_refunded }) => ({
    kind: 'refunded',
    paymentId: idOf(payment_intent) ?? id,
    total: BigInt(amount_refunded),
  })),
  'charge.dispute.created': dispute,
  'charge.dispute.updated': dispute,
  'charge.dispute.closed': dispute,
}

/** What an event says. */
export function factOf({ type, object }: Pick<ProviderEvent, 'type' | 'object'>): Fact {
  return (Object.hasOwn(READERS, type) ? READERS[type] : undefined)?.(object) ?? { kind: 'ignored' }
}
