import { createHash } from 'node:crypto'
import { canonical } from '../base/canonical.ts'
import { Failure } from '../base/errors.ts'
import type { Account } from './accounts.ts'

/**
 * Business acts: what the ledger takes. An act is a list of entries that count together or not at
 * all, and once: its key is its idempotency.
 */

/** From one account to another of the same asset. */
export interface TransferEntry {
  readonly type: 'transfer'
  readonly debit: Account
  readonly credit: Account
  /** In minor units, above zero. */
  readonly amount: bigint
}
/** Sets money aside: it stays in the account and cannot be spent. */
export interface HoldEntry {
  readonly type: 'hold'
  /** Chosen by the caller, so that a repeated request names the same hold. */
  readonly hold: string
  readonly account: Account
  readonly amount: bigint
  /** In milliseconds since the epoch; after that it is released by itself. */
  readonly expiresAtMs: number
}
/** Transfers what was held, all or part of it; the rest is released. */
export interface PostEntry {
  readonly type: 'post'
  readonly hold: string
  /** The account that the hold is on. */
  readonly account: Account
  readonly credit: Account
  readonly amount: bigint
}
/** Releases what was held; `expire` only once its time has come. */
export interface ReleaseEntry {
  readonly type: 'void' | 'expire'
  readonly hold: string
  readonly account: Account
}
export type Entry = TransferEntry | HoldEntry | PostEntry | ReleaseEntry

/** Something that happened between accounts. */
export interface Act {
  /** The same again is the same act; with other contents it is refused. 300 characters at most. */
  readonly key: string
  /** `feature.act`: what kind of business this was. */
  readonly kind: string
  /** A line for the statement; no personal data beyond what its readers know. */
  readonly label?: string
  /** The business object that it belongs to. */
  readonly reference?: { readonly type: string; readonly id: string }
  /** Who caused it: a user's id, or `server`. */
  readonly actor?: string
  /** The act that this one takes back; each can be taken back once. */
  readonly reverses?: bigint
  readonly entries: readonly Entry[]
}

/** Why the ledger refuses an act, and what a client is told. */
export const REFUSALS = {
  insufficient_funds: ['insufficient_funds', 'There is not enough in the account'],
  account_closed: ['conflict', 'The account is closed'],
  already_reversed: ['conflict', 'It has been reversed already'],
  key_reused: ['idempotency_key_reused', 'This key belongs to a different act'],
  hold_unknown: ['not_found', 'No such hold'],
  hold_exists: ['already_exists', 'There is a hold of this id'],
  hold_posted: ['conflict', 'The hold has been posted already'],
  hold_voided: ['conflict', 'The hold has been released already'],
  hold_expired: ['conflict', 'The hold has expired'],
  hold_not_due: ['conflict', 'The hold has not expired yet'],
  exceeds_hold: ['conflict', 'More than was held'],
  same_account: ['validation_failed', 'Both sides are the same account'],
  asset_mismatch: ['validation_failed', 'The accounts are of different assets'],
  amount_invalid: ['validation_failed', 'An amount is a whole number of minor units above zero'],
  empty: ['validation_failed', 'An act has at least one entry'],
} as const satisfies Record<string, readonly [Failure['code'], string]>
export type Refusal = keyof typeof REFUSALS

/** What came of an act. */
export type ActOutcome =
  | {
      readonly posted: true
      /** The id of the act; of the first one when it was posted before. */
      readonly act: bigint
      readonly replayed: boolean
    }
  | {
      readonly posted: false
      readonly refusal: Refusal
      /** Which entry was refused, from 0; undefined when it was the act as a whole. */
      readonly entry: number | undefined
    }

/** The failure that a client gets for a refused act. */
function refusalFailure(refusal: Refusal): Failure {
  const [code, message] = REFUSALS[refusal]
  return new Failure(code, message)
}

/**
 * The id of a posted act.
 * @throws Failure by `REFUSALS` for one that was refused
 */
export function postedAct(outcome: ActOutcome): bigint {
  if (!outcome.posted) throw refusalFailure(outcome.refusal)
  return outcome.act
}

const KEY_LENGTH_MAX = 300
const ENTRIES_MAX = 5_000

/**
 * Looks at what only a bug can get wrong, before it could fail the acts that are posted with it.
 * @throws RangeError
 */
export function checkAct({ key, entries }: Act): void {
  if (key === '' || key.length > KEY_LENGTH_MAX) throw new RangeError('a key of 1 to 300 letters')
  if (entries.length > ENTRIES_MAX) throw new RangeError(`${entries.length} entries in one act`)
}

/** What an act's key is stored as: of one length, whatever the caller has made it of. */
export function keyOf({ key }: Act): Buffer {
  return createHash('sha256').update(key).digest()
}

/** Everything that makes an act what it is; another act under the same key has another one. */
export function fingerprintOf({ kind, reference, reverses, entries }: Act): Buffer {
  const text = canonical({
    kind,
    reference: reference ?? null,
    reverses: reverses?.toString() ?? null,
    entries: entries.map((entry) => {
      const { type } = entry
      if (type === 'transfer') return [type, entry.debit.id, entry.credit.id, `${entry.amount}`]
      if (type === 'hold') return [type, entry.hold, entry.account.id, `${entry.amount}`]
      if (type === 'post') return [type, entry.hold, entry.credit.id, `${entry.amount}`]
      return [type, entry.hold, entry.account.id]
    }),
  })
  return createHash('sha256').update(text).digest()
}
