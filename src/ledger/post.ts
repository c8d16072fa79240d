import type { SQL } from 'bun'
import { emission } from '../kernel/channel.ts'
import type { Emission } from '../kernel/effects.ts'
import { formatAmount } from '../money/money.ts'
import type { Account } from './accounts.ts'
import {
  type Act,
  type ActOutcome,
  checkAct,
  type Entry,
  fingerprintOf,
  keyOf,
  type Refusal,
} from './act.ts'
import { balanceChanged } from './channels.ts'

/** The one way to the posting function: encodes acts, sends them, reads what came of them. */

/** Most acts and entries of one call; what is larger belongs in several. */
export const ACTS_MAX = 1_000
const ENTRIES_MAX = 10_000

const OPS = { transfer: 0, hold: 1, post: 2, void: 3, expire: 4 } as const

/** Where an account stands after a posting, in minor units. */
export interface Standing {
  readonly account: Account
  readonly balance: bigint
  /** Part of the balance that is set aside. */
  readonly held: bigint
}

/** What came of a posting. */
export interface Posting {
  /** One for each act, in order. */
  readonly outcomes: readonly ActOutcome[]
  /** The accounts that have changed, as they are now. */
  readonly standings: readonly Standing[]
}

/**
 * Posts acts in the caller's transaction, each on its own: one that is refused changes nothing and
 * hinders no other. The accounts stay locked until the transaction ends, so post last.
 *
 * Announce the new balances with `balanceEvents`.
 *
 * @param lockMs how long to wait for an account that somebody else has locked; then the statement
 *   fails with SQLSTATE 55P03. Default: as long as the connection waits anyway
 */
export async function postActs(
  sql: SQL,
  acts: readonly Act[],
  options: { readonly lockMs?: number } = {},
): Promise<Posting> {
  if (acts.length === 0) return { outcomes: [], standings: [] }
  for (const act of acts) checkAct(act)
  const { accounts, places } = accountsOf(acts)
  const [row] = (await statement(sql, acts, [...accounts.keys()], places, options.lockMs)) as [Row]
  const outcomes = acts.map((_act, n) => outcomeOf(row, n))
  const changed = changedBy(acts, outcomes)
  const standings = [...accounts.values()].flatMap((account, n) => {
    if (!changed.has(account.id)) return []
    return [{ account, balance: BigInt(row.balances[n]!), held: BigInt(row.helds[n]!) }]
  })
  return { outcomes, standings }
}

/**
 * Locks accounts until the transaction ends, in order, and says where they stand. For acts whose
 * amount depends on what is there.
 */
export async function lockAccounts(
  sql: SQL,
  accounts: readonly Account[],
  options: { readonly lockMs?: number } = {},
): Promise<Standing[]> {
  const sorted = [...new Map(accounts.map((one) => [one.id, one])).values()].toSorted(
    (a, b) => a.id - b.id,
  )
  const ids = sorted.map(({ id }) => id)
  const [row] = (await statement(sql, [], ids, new Map(), options.lockMs)) as [Row]
  return sorted.map((account, n) => {
    return { account, balance: BigInt(row.balances[n]!), held: BigInt(row.helds[n]!) }
  })
}

/** Ids of the accounts in acts that have just been posted. */
function changedBy(acts: readonly Act[], outcomes: readonly ActOutcome[]): Set<number> {
  const changed = new Set<number>()
  for (const [n, act] of acts.entries()) {
    const outcome = outcomes[n] as ActOutcome
    if (!outcome.posted || outcome.replayed) continue
    for (const entry of act.entries) for (const { id } of accountsIn(entry)) changed.add(id)
  }
  return changed
}

interface Row {
  readonly act_ids: (string | null)[]
  readonly outcomes: string[]
  readonly failed: (number | null)[]
  readonly balances: string[]
  readonly helds: string[]
}

function outcomeOf(row: Row, n: number): ActOutcome {
  const outcome = row.outcomes[n]
  if (outcome === 'posted' || outcome === 'replayed') {
    return { posted: true, act: BigInt(row.act_ids[n] as string), replayed: outcome === 'replayed' }
  }
  const entry = row.failed[n] ?? null
  return {
    posted: false,
    refusal: outcome as Refusal,
    entry: entry === null ? undefined : entry - 1,
  }
}

const accountsIn = (entry: Entry): Account[] => {
  switch (entry.type) {
    case 'transfer':
      return [entry.debit, entry.credit]
    case 'post':
      return [entry.account, entry.credit]
    case 'hold':
    case 'void':
    case 'expire':
      return [entry.account]
  }
}

/** The accounts of a call by id, in order, and the place of each. */
function accountsOf(acts: readonly Act[]) {
  const found = new Map<number, Account>()
  let entries = 0
  for (const act of acts) {
    entries += act.entries.length
    for (const entry of act.entries) for (const one of accountsIn(entry)) found.set(one.id, one)
  }
  if (acts.length > ACTS_MAX || entries > ENTRIES_MAX) {
    throw new RangeError(`${acts.length} acts with ${entries} entries in one posting`)
  }
  const accounts = new Map([...found].toSorted(([a], [b]) => a - b))
  const places = new Map([...accounts.keys()].map((id, n) => [id, n + 1]))
  return { accounts, places }
}

/** Columns of the entries, as the posting function takes them. */
function entryColumns(acts: readonly Act[], places: ReadonlyMap<number, number>) {
  const columns = {
    acts: [] as number[],
    ops: [] as number[],
    debits: [] as number[],
    credits: [] as (number | null)[],
    amounts: [] as (bigint | null)[],
    holds: [] as (string | null)[],
    expires: [] as (string | null)[],
  }
  for (const [n, act] of acts.entries()) {
    for (const entry of act.entries) {
      const { type } = entry
      const debit = type === 'transfer' ? entry.debit : entry.account
      const credit = type === 'transfer' || type === 'post' ? entry.credit : undefined
      columns.acts.push(n + 1)
      columns.ops.push(OPS[type])
      columns.debits.push(places.get(debit.id) as number)
      columns.credits.push(credit === undefined ? null : (places.get(credit.id) as number))
      columns.amounts.push('amount' in entry ? entry.amount : null)
      columns.holds.push('hold' in entry ? entry.hold : null)
      columns.expires.push(type === 'hold' ? instant(entry.expiresAtMs) : null)
    }
  }
  return columns
}

/** Milliseconds as PostgreSQL reads them, without making a `Date`. */
const instant = (ms: number) => new Date(ms).toISOString()

function statement(
  sql: SQL,
  acts: readonly Act[],
  accounts: readonly number[],
  places: ReadonlyMap<number, number>,
  lockMs: number | undefined,
) {
  const entries = entryColumns(acts, places)
  const keys = `{${acts.map((act) => bytes(keyOf(act))).join(',')}}`
  const fingerprints = `{${acts.map((act) => bytes(fingerprintOf(act))).join(',')}}`
  return sql`
    select act_ids, outcomes, failed, balances, helds from ledger_post(
      ${numbers(accounts)}::text::bigint[],
      ${keys}::text::bytea[], ${fingerprints}::text::bytea[],
      ${texts(acts.map((act) => act.kind))}::text::text[],
      ${texts(acts.map((act) => act.label))}::text::text[],
      ${texts(acts.map((act) => act.reference?.type))}::text::text[],
      ${texts(acts.map((act) => act.reference?.id))}::text::text[],
      ${numbers(acts.map((act) => act.reverses ?? null))}::text::bigint[],
      ${texts(acts.map((act) => act.actor))}::text::text[],
      ${numbers(entries.acts)}::text::int[], ${numbers(entries.ops)}::text::int[],
      ${numbers(entries.debits)}::text::int[], ${numbers(entries.credits)}::text::int[],
      ${numbers(entries.amounts)}::text::numeric[], ${texts(entries.holds)}::text::uuid[],
      ${texts(entries.expires)}::text::timestamptz[], ${lockMs ?? null}::int)`
}

const numbers = (values: readonly (number | bigint | null)[]) =>
  `{${values.map((value) => (value === null ? 'NULL' : `${value}`)).join(',')}}`
const texts = (values: readonly (string | null | undefined)[]) =>
  `{${values.map((value) => (value == null ? 'NULL' : quoted(value))).join(',')}}`
const quoted = (value: string) => `"${value.replaceAll(/["\\]/g, '\\$&')}"`
const bytes = (value: Buffer) => `"\\\\x${value.toString('hex')}"`

/**
 * The events that tell users of their new balances, by reference: whoever reads one later sees the
 * balance as it is then.
 */
export function balanceEvents(standings: readonly Standing[]): Emission[] {
  return standings.flatMap(({ account, balance, held }) => {
    const { id, kind, owner, asset } = account
    if (kind !== 'wallet' || owner === undefined) return []
    const payload = {
      asset: asset.code,
      balance: formatAmount(balance, asset),
      held: formatAmount(held, asset),
      available: formatAmount(balance - held, asset),
    }
    return [emission(balanceChanged, owner, payload, [id, 0])]
  })
}
