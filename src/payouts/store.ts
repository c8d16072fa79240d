import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import type { PayoutState } from './states.ts'

/** The tables of payouts. */

/** A payout as it is stored. */
export interface PayoutRow {
  readonly id: string
  readonly userId: string
  readonly asset: string
  /** In minor units. */
  readonly amount: bigint
  readonly iban: string
  readonly name: string
  readonly state: PayoutState
  readonly reason: string | null
  readonly notBefore: Date
  readonly requestedAt: Date
  readonly updatedAt: Date
  readonly fileId: string | null
  readonly bankReference: string | null
}

const COLUMNS = `id, user_id as "userId", asset, amount::text, iban, name, state, reason,
  not_before as "notBefore", requested_at as "requestedAt", updated_at as "updatedAt",
  file_id as "fileId", bank_reference as "bankReference"`

type Raw = Omit<PayoutRow, 'amount'> & { readonly amount: string }
const rowOf = (raw: Raw): PayoutRow => ({ ...raw, amount: BigInt(raw.amount) })

/** Inserts a payout. */
export async function insertPayout(sql: SQL, payout: PayoutRow): Promise<void> {
  const { id, userId, asset, amount, iban, name, state, notBefore, requestedAt } = payout
  await sql`
    insert into payouts (id, user_id, asset, amount, iban, name, state, not_before, requested_at,
      updated_at)
    values (${id}, ${userId}, ${asset}, ${amount.toString()}::text::numeric, ${iban}, ${name},
      ${state}, ${notBefore}, ${requestedAt}, ${requestedAt})`
}

/**
 * A payout, locked until the transaction ends.
 * @param userId whose it must be; somebody else's does not exist
 * @throws Failure `not_found`
 */
export async function lockPayout(sql: SQL, id: string, userId?: string): Promise<PayoutRow> {
  const owner = userId ?? null
  const [raw] = (await sql`
    select ${sql.unsafe(COLUMNS)} from payouts
    where id = ${id} and (${owner}::text is null or user_id = ${owner}::text::uuid)
    for update`) as Raw[]
  if (raw === undefined) throw noSuchPayout()
  return rowOf(raw)
}

/** The refusal for ids of nothing, and of somebody else's. */
export const noSuchPayout = () => new Failure('not_found', 'No such payout')

/** Payouts of an order, locked, in order of their ids. */
export async function lockPayoutsOf(sql: SQL, fileId: string): Promise<PayoutRow[]> {
  const rows = (await sql`
    select ${sql.unsafe(COLUMNS)} from payouts where file_id = ${fileId}
    order by id for update`) as Raw[]
  return rows.map(rowOf)
}

/** Payouts of an order as they are, in order of their ids. */
export async function payoutsOf(sql: SQL, fileId: string): Promise<PayoutRow[]> {
  const rows = (await sql`
    select ${sql.unsafe(COLUMNS)} from payouts where file_id = ${fileId} order by id`) as Raw[]
  return rows.map(rowOf)
}

/** What is set aside for payouts in the ledger, and whose it is, by the payouts' ids. */
export async function openHolds(
  sql: SQL,
  ids: readonly string[],
): Promise<Map<string, { amount: bigint; owner: string | null }>> {
  const rows = (await sql`
    select h.id, h.amount::text, a.owner from ledger_holds h join ledger_accounts a
      on a.id = h.account and a.kind = 'wallet'
    where h.state = 'open' and h.id = any(${`{${ids.join(',')}}`}::text::uuid[])`) as {
    id: string
    amount: string
    owner: string | null
  }[]
  return new Map(rows.map(({ id, amount, owner }) => [id, { amount: BigInt(amount), owner }]))
}

/** Approved payouts that nobody else is about to order, locked, oldest first. */
export async function lockApproved(sql: SQL, limit: number): Promise<PayoutRow[]> {
  const rows = (await sql`
    select ${sql.unsafe(COLUMNS)} from payouts where state = 'approved'
    order by id limit ${limit} for update skip locked`) as Raw[]
  return rows.map(rowOf)
}

/** Takes locked payouts a step further. */
export async function stepPayouts(
  sql: SQL,
  now: Date,
  ids: readonly string[],
  change: {
    state: PayoutState
    reason?: string
    fileId?: string
    bankReference?: string | undefined
  },
): Promise<void> {
  await sql`
    update payouts set state = ${change.state}, updated_at = ${now},
      reason = coalesce(${change.reason ?? null}::text, reason),
      file_id = coalesce(${change.fileId ?? null}::text::uuid, file_id),
      bank_reference = coalesce(${change.bankReference ?? null}::text, bank_reference)
    where id = any(${`{${ids.join(',')}}`}::text::uuid[])`
}

/** Payouts, newest first, before `before`. */
export async function listPayouts(
  sql: SQL,
  query: {
    before: string | undefined
    limit: number
    userId?: string | undefined
    state?: PayoutState | undefined
    fileId?: string | undefined
    id?: string | undefined
  },
): Promise<PayoutRow[]> {
  const { before = null, limit, userId = null, state = null, fileId = null, id = null } = query
  const rows = (await sql`
    select ${sql.unsafe(COLUMNS)} from payouts
    where (${before}::text is null or id < ${before}::text::uuid)
      and (${userId}::text is null or user_id = ${userId}::text::uuid)
      and (${state}::text is null or state = ${state})
      and (${id}::text is null or id = ${id}::text::uuid)
      and (${fileId}::text is null or file_id = ${fileId}::text::uuid)
    order by id desc limit ${limit}`) as Raw[]
  return rows.map(rowOf)
}

/** How many payouts of a user are not decided yet. */
export async function countOpen(sql: SQL, userId: string): Promise<number> {
  const [row] = (await sql`
    select count(*)::int as open from payouts
    where user_id = ${userId} and state in ('requested', 'approved')`) as [{ open: number }]
  return row.open
}

/** Whether the bank may still pay something to a user, or somebody has to decide on it. */
export async function isUnderWay(sql: SQL, userId: string): Promise<boolean> {
  const rows = await sql`
    select from payouts where user_id = ${userId}
      and state in ('requested', 'approved', 'processing') limit 1`
  return rows.length > 0
}

/** Since when a user has had money sent to an account; now, for a new one. */
export async function destinationSince(
  sql: SQL,
  now: Date,
  userId: string,
  iban: string,
): Promise<Date> {
  await sql`
    insert into payout_destinations (user_id, iban, first_used_at)
    values (${userId}, ${iban}, ${now}) on conflict do nothing`
  const [row] = (await sql`
    select first_used_at as since from payout_destinations
    where user_id = ${userId} and iban = ${iban}`) as [{ since: Date }]
  return row.since
}

/** When password, second factor or address of a user last changed; null for never. */
export async function securityChangedAt(sql: SQL, userId: string): Promise<Date | null> {
  const [row] = (await sql`
    select security_changed_at as at from users where id = ${userId}`) as { at: Date | null }[]
  return row?.at ?? null
}

/** An order to the bank as it is stored, without its content. */
export interface FileRow {
  readonly id: string
  readonly messageId: string
  readonly state: 'prepared' | 'delivered'
  readonly count: number
  /** In cents. */
  readonly controlSum: bigint
  readonly sha256: Buffer
  readonly createdBy: string
  readonly createdAt: Date
  readonly deliveredAt: Date | null
  readonly deliveredAs: string | null
}

const FILE_COLUMNS = `id, message_id as "messageId", state, count,
  control_sum::text as "controlSum", sha256, created_by as "createdBy", created_at as "createdAt",
  delivered_at as "deliveredAt", delivered_as as "deliveredAs"`

type RawFile = Omit<FileRow, 'controlSum' | 'sha256'> & { controlSum: string; sha256: Uint8Array }
const fileOf = (raw: RawFile): FileRow => ({
  ...raw,
  controlSum: BigInt(raw.controlSum),
  sha256: Buffer.from(raw.sha256),
})

/** Inserts an order that is about to be handed over. */
export async function insertFile(
  sql: SQL,
  file: Pick<
    FileRow,
    'id' | 'messageId' | 'count' | 'controlSum' | 'sha256' | 'createdBy' | 'createdAt'
  > & { content: Uint8Array },
): Promise<void> {
  await sql`
    insert into payout_files (id, message_id, state, count, control_sum, sha256, content,
      created_by, created_at)
    values (${file.id}, ${file.messageId}, 'prepared', ${file.count},
      ${file.controlSum.toString()}::text::numeric, ${file.sha256}, ${Buffer.from(file.content)},
      ${file.createdBy}, ${file.createdAt})`
}

/** An order with its content. */
export async function findFile(
  sql: SQL,
  id: string,
): Promise<(FileRow & { content: Buffer }) | undefined> {
  const [raw] = (await sql`
    select ${sql.unsafe(FILE_COLUMNS)}, content from payout_files where id = ${id}`) as (RawFile & {
    content: Uint8Array
  })[]
  if (raw === undefined) return undefined
  const { content, ...rest } = raw
  return { ...fileOf(rest), content: Buffer.from(content) }
}

/** Orders, newest first, before `before`. */
export async function listFiles(
  sql: SQL,
  before: string | undefined,
  limit: number,
): Promise<FileRow[]> {
  const rows = (await sql`
    select ${sql.unsafe(FILE_COLUMNS)} from payout_files
    where ${before ?? null}::text is null or id < ${before ?? null}::text::uuid
    order by id desc limit ${limit}`) as RawFile[]
  return rows.map(fileOf)
}

/** Ids of the orders of which nobody knows whether they were handed over. */
export async function listPrepared(sql: SQL): Promise<string[]> {
  const rows = (await sql`
    select id from payout_files where state = 'prepared' order by id limit 100`) as { id: string }[]
  return rows.map(({ id }) => id)
}

/** Notes that an order is with the bank's side. */
export async function markDelivered(sql: SQL, now: Date, id: string, name: string): Promise<void> {
  await sql`
    update payout_files set state = 'delivered', delivered_at = ${now}, delivered_as = ${name}
    where id = ${id} and state = 'prepared'`
}
