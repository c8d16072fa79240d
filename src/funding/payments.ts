import type { SQL } from 'bun'
import { uuidv7 } from '../base/ids.ts'
import type { Caller } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import type { Kernel } from '../kernel/kernel.ts'
import {
  type Account,
  Accounts,
  type Act,
  bookActs,
  type Entry,
  isOpen,
  lockForBooking,
} from '../ledger/index.ts'
import type { Fact } from './facts.ts'
import {
  type Dispute,
  disputesOf,
  lockPayment,
  type Payment,
  saveDispute,
  savePayment,
  type Trouble,
} from './store.ts'

/**
 * Payments: what a provider has told of one, in whatever order and however often, and the ledger
 * made to agree with it. Facts change the row; `settle` posts what the ledger lacks. Each amount
 * has a key of its own, so that nothing is posted twice whoever settles when.
 */

type Ctx = WriteContext<Caller | null>

/** Where money waits that nobody has been named for. */
const UNASSIGNED = 'unassigned payments'
/** A dispute takes months; this is only so that no hold is for ever. */
const HOLD_MS = 10 * 365 * 86_400_000

/** The accounts that a payment can touch. */
interface Places {
  readonly outside: Account
  readonly unassigned: Account
}

/** Opens the accounts of a provider; ask before the transaction, and in it with its connection. */
export async function openPlaces(
  kernel: Kernel,
  provider: string,
  asset: string,
  on?: SQL,
): Promise<Places> {
  const accounts = kernel.use(Accounts)
  const outside = await accounts.open({ asset, kind: 'external', reference: provider }, on)
  const unassigned = await accounts.open({ asset, kind: 'escrow', reference: UNASSIGNED }, on)
  return { outside, unassigned }
}

/** Opens the wallet of whoever a payment is for; undefined when there is no such user. */
export async function openWallet(
  kernel: Kernel,
  userId: string | null | undefined,
  asset: string,
): Promise<Account | undefined> {
  if (userId == null) return undefined
  const there = await kernel.db.read((sql) => isOpen(sql, userId))
  if (!there) return undefined
  return await kernel.use(Accounts).open({ asset, kind: 'wallet', owner: userId })
}

/**
 * Takes note of a fact and settles what follows from it.
 * @returns what the ledger has of the payment now
 */
export async function learn(
  ctx: Ctx,
  provider: string,
  fact: Exclude<Fact, { kind: 'ignored' }> & { paymentId: string },
): Promise<Payment> {
  const { tx, clock } = ctx
  const known = await lockPayment(tx.sql, clock.date(), { provider, paymentId: fact.paymentId })
  switch (fact.kind) {
    case 'paid':
      return await settle(ctx, withPayment(known, fact))
    case 'refunded': {
      // Cumulative: of two events in the wrong order the larger one is the later one.
      const refunded = fact.total > known.refunded ? fact.total : known.refunded
      return await settle(ctx, { ...known, refunded })
    }
    case 'disputed': {
      const { disputeId, amount, state } = fact
      const before = (await disputesOf(tx.sql, known)).find((d) => d.disputeId === disputeId)
      const hold = before?.hold ?? null
      await saveDispute(tx.sql, clock.date(), known, { disputeId, amount, state, hold })
      return await settle(ctx, known)
    }
    case 'unreadable':
      return await settle(ctx, known, 'unreadable')
  }
}

function withPayment(known: Payment, fact: Extract<Fact, { kind: 'paid' }>): Payment {
  const { asset, amount, userId = null } = fact
  if (known.amount === null) return { ...known, asset, amount, userId: known.userId ?? userId }
  const differs = known.amount !== amount || known.asset !== asset
  if (differs) return { ...known, trouble: 'amount_differs' }
  // One event names the user and another one does not: the first that does counts.
  return { ...known, userId: known.userId ?? userId }
}

/** Posts what the ledger lacks of a locked payment, and writes down where it is then. */
export async function settle(ctx: Ctx, told: Payment, trouble?: Trouble): Promise<Payment> {
  const { tx, clock } = ctx
  const disputes = await disputesOf(tx.sql, told)
  const payment = isComplete(told) ? await post(ctx, told, disputes) : told
  const last = { ...payment, trouble: trouble ?? troubleOf(payment, disputes) }
  await savePayment(tx.sql, clock.date(), last)
  return last
}

type Complete = Payment & { readonly amount: bigint; readonly asset: string }
const isComplete = (payment: Payment): payment is Complete =>
  payment.amount !== null && payment.asset !== null

/** What a payment still needs a person for. */
function troubleOf(payment: Payment, disputes: readonly Dispute[]): Trouble | null {
  const { credited, returned } = payment
  // Said once, it stays until somebody has looked: nothing that comes later explains it.
  if (payment.trouble === 'amount_differs' || payment.trouble === 'unreadable') {
    return payment.trouble
  }
  if (!isComplete(payment)) return 'payment_missing'
  if (credited === 'unassigned' && returned < payment.amount) return 'user_unknown'
  if (returned < dueOf(payment, disputes)) return 'refund_owed'
  return disputes.some(({ state }) => state === 'open') ? 'disputed' : null
}

/** What has to go back in all: refunds, and what was lost in disputes. */
function dueOf({ amount, refunded }: Complete, disputes: readonly Dispute[]): bigint {
  let due = refunded
  for (const dispute of disputes) if (dispute.state === 'lost') due += dispute.amount
  return due > amount ? amount : due
}

/** Everything that a payment can touch, locked, and what was free in its place before. */
interface Scene extends Places {
  /** The wallet of whoever it is for, if there is such a user. */
  readonly wallet: Account | undefined
  readonly free: (account: Account) => bigint
}

async function post(ctx: Ctx, told: Complete, disputes: readonly Dispute[]): Promise<Payment> {
  const places = await openPlaces(ctx.kernel, told.provider, told.asset, ctx.tx.sql)
  const wallet = await walletOf(ctx, told)
  const accounts = [places.outside, places.unassigned, ...(wallet === undefined ? [] : [wallet])]
  const free = await lockForBooking(ctx, accounts)
  const scene = { ...places, wallet, free }
  const { payment, arrived } = await credit(ctx, told, scene)
  const place = payment.credited === 'wallet' ? (wallet as Account) : places.unassigned
  const released = await releaseDecided(ctx, payment, disputes, place)
  let left = free(place) + arrived + released
  const owed = dueOf(payment, disputes) - payment.returned
  const taken = smaller(owed, left)
  if (taken > 0n) await takeBack(ctx, payment, { from: place, to: places.outside, taken, owed })
  left -= taken > 0n ? taken : 0n
  if (payment.credited === 'wallet') await holdDisputed(ctx, payment, disputes, place, left)
  return { ...payment, returned: payment.returned + (taken > 0n ? taken : 0n) }
}

const smaller = (a: bigint, b: bigint) => (a < b ? a : b)

/** Of a payment that is in a wallet, that one; else the one of whoever it is for. */
async function walletOf(
  { kernel, tx }: Ctx,
  { credited, userId, asset }: Complete,
): Promise<Account | undefined> {
  if (userId === null) return undefined
  if (credited !== 'wallet' && !(await isOpen(tx.sql, userId, { lock: true }))) return undefined
  return await kernel.use(Accounts).open({ asset, kind: 'wallet', owner: userId }, tx.sql)
}

/** To the user's wallet, or where it waits for somebody; from there to the wallet later. */
async function credit(
  ctx: Ctx,
  payment: Complete,
  { outside, unassigned, wallet }: Scene,
): Promise<{ payment: Complete; arrived: bigint }> {
  const { provider, paymentId, amount, credited, returned, userId, asset } = payment
  const nothing = { payment, arrived: 0n }
  if (credited === 'wallet') return nothing
  if (credited === 'unassigned' && (wallet === undefined || returned === amount)) return nothing
  const first = credited === 'none'
  const arrived = amount - returned
  const to = wallet ?? unassigned
  const act = await book(ctx, payment, {
    key: `${first ? 'payment' : 'payment.assign'}:${provider}:${paymentId}`,
    kind: 'funding.payment',
    label: `Payment by ${provider}`,
    entry: { type: 'transfer', debit: first ? outside : unassigned, credit: to, amount: arrived },
  })
  ctx.audit({
    action: wallet === undefined ? 'funding.payment_parked' : 'funding.payment_credited',
    ...about(payment),
    after: { act, asset, minor: arrived.toString(), user: userId },
  })
  const now = wallet === undefined ? 'unassigned' : 'wallet'
  return { payment: { ...payment, credited: now }, arrived }
}

/** Takes back what the payer has got back, as far as it is there. */
async function takeBack(
  ctx: Ctx,
  payment: Complete,
  { from, to, taken, owed }: { from: Account; to: Account; taken: bigint; owed: bigint },
): Promise<void> {
  const { provider, paymentId, returned } = payment
  const act = await book(ctx, payment, {
    key: `refund:${provider}:${paymentId}:${returned}`,
    kind: 'funding.refund',
    label: `Payment by ${provider} given back`,
    entry: { type: 'transfer', debit: from, credit: to, amount: taken },
  })
  ctx.audit({
    action: 'funding.payment_returned',
    ...about(payment),
    after: { act, minor: taken.toString(), owed: (owed - taken).toString() },
  })
}

/**
 * Releases what was set aside for disputes that are decided.
 * @returns how much that was
 */
async function releaseDecided(
  ctx: Ctx,
  payment: Complete,
  disputes: readonly Dispute[],
  account: Account,
): Promise<bigint> {
  let released = 0n
  for (const dispute of disputes) {
    const { state, hold, disputeId } = dispute
    if (state === 'open' || hold === null) continue
    const { tx, clock } = ctx
    const [row] = (await tx.sql`
      select amount::text from ledger_holds where id = ${hold} and state = 'open'`) as {
      amount: string
    }[]
    if (row !== undefined) {
      released += BigInt(row.amount)
      await book(ctx, payment, {
        key: `dispute:${payment.provider}:${disputeId}:release`,
        kind: 'funding.dispute',
        entry: { type: 'void', hold, account },
      })
    }
    await saveDispute(tx.sql, clock.date(), payment, { ...dispute, hold: null })
  }
  return released
}

/** Sets aside what is disputed, as far as it is there. */
async function holdDisputed(
  ctx: Ctx,
  payment: Complete,
  disputes: readonly Dispute[],
  account: Account,
  free: bigint,
): Promise<void> {
  let left = free
  for (const dispute of disputes) {
    if (dispute.state !== 'open' || dispute.hold !== null) continue
    const amount = smaller(left, dispute.amount)
    if (amount <= 0n) continue
    const { clock, tx } = ctx
    const hold = uuidv7(clock.now())
    const act = await book(ctx, payment, {
      key: `dispute:${payment.provider}:${dispute.disputeId}:hold`,
      kind: 'funding.dispute',
      label: 'Set aside: the payment is disputed',
      entry: { type: 'hold', hold, account, amount, expiresAtMs: clock.now() + HOLD_MS },
    })
    await saveDispute(tx.sql, clock.date(), payment, { ...dispute, hold })
    ctx.audit({
      action: 'funding.payment_disputed',
      ...about(payment),
      after: { act, dispute: dispute.disputeId, minor: amount.toString() },
    })
    left -= amount
  }
}

/** One act of a payment; its id. */
async function book(
  ctx: Ctx,
  { provider, paymentId }: Payment,
  { entry, ...act }: Pick<Act, 'key' | 'kind' | 'label'> & { entry: Entry },
): Promise<string> {
  const reference = { type: 'payment', id: `${provider}/${paymentId}` }
  const { ids } = await bookActs(ctx, [{ ...act, reference, actor: 'server', entries: [entry] }])
  return String(ids[0])
}

/** What audit lines of a payment say of it. */
const about = ({ provider, paymentId, userId }: Payment) => ({
  target: { type: 'payment', id: `${provider}/${paymentId}` },
  ...(userId === null ? {} : { subjectId: userId }),
})
