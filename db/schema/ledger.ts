import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  index,
  pgTable,
  primaryKey,
  smallint,
  text,
  timestamp,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import { amount, bytea } from './columns.ts'

/**
 * The ledger: what everybody owns and owes. Written only by the functions of its migration, which
 * belong to the owner; the server's role may read (`docs/ledger.md`).
 */

/** Microseconds, since transfers are ordered by it. */
const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'string' })
const id = (name: string) => bigint(name, { mode: 'bigint' })

/** What can be owned. Adding one is a row. */
export const ledgerAssets = pgTable(
  'ledger_assets',
  {
    code: text('code').primaryKey(),
    name: text('name').notNull(),
    /** Decimals of the unit that people see: 2 for euros, whose minor unit is the cent. */
    scale: smallint('scale').notNull(),
    /** Users may send it to each other. */
    transferable: boolean('transferable').notNull(),
  },
  (table) => [
    check('ledger_assets_code', sql`${table.code} ~ '^[A-Z][A-Z0-9]{1,11}$'`),
    check('ledger_assets_scale', sql`${table.scale} between 0 and 18`),
  ],
)

/** Kinds of accounts, and how far below zero each may go; null is without bound. */
export const ledgerAccountKinds = pgTable('ledger_account_kinds', {
  kind: text('kind').primaryKey(),
  description: text('description').notNull(),
  floor: amount('floor'),
})

/** One balance: what has come in less what has gone out. Changed by `ledger_post` alone. */
export const ledgerAccounts = pgTable(
  'ledger_accounts',
  {
    id: id('id').primaryKey().generatedAlwaysAsIdentity(),
    asset: text('asset')
      .notNull()
      .references(() => ledgerAssets.code),
    kind: text('kind')
      .notNull()
      .references(() => ledgerAccountKinds.kind),
    /** The user it belongs to; none for the house's own. */
    owner: uuid('owner'),
    /** Tells several of one kind apart: a pool's id, a bank. */
    reference: text('reference').notNull().default(''),
    floor: amount('floor'),
    balance: amount('balance')
      .notNull()
      .default(sql`0`),
    /** Part of the balance that holds have set aside. */
    held: amount('held')
      .notNull()
      .default(sql`0`),
    /** Of its newest transfer: time never goes back within an account. */
    lastAt: instant('last_at').notNull().default('-infinity'),
    openedAt: instant('opened_at').notNull().defaultNow(),
    closedAt: instant('closed_at'),
  },
  (table) => [
    uniqueIndex('ledger_accounts_identity').on(
      sql`coalesce(${table.owner}, '00000000-0000-0000-0000-000000000000')`,
      table.kind,
      table.asset,
      table.reference,
    ),
    index('ledger_accounts_kind').on(table.kind, table.asset, table.id),
    check('ledger_accounts_floor', sql`${table.balance} - ${table.held} >= ${table.floor}`),
    check('ledger_accounts_held', sql`${table.held} >= 0`),
  ],
)

/** A business act: transfers that count together, once. The key is its idempotency. */
export const ledgerActs = pgTable(
  'ledger_acts',
  {
    id: id('id').primaryKey(),
    key: bytea('key').notNull(),
    fingerprint: bytea('fingerprint').notNull(),
    kind: text('kind').notNull(),
    label: text('label'),
    refType: text('ref_type'),
    refId: text('ref_id'),
    reverses: id('reverses'),
    actor: text('actor'),
    at: instant('at').notNull(),
  },
  (table) => [
    uniqueIndex('ledger_acts_key').on(table.key),
    uniqueIndex('ledger_acts_reverses')
      .on(table.reverses)
      .where(sql`${table.reverses} is not null`),
    index('ledger_acts_ref')
      .on(table.refType, table.refId)
      .where(sql`${table.refType} is not null`),
  ],
)

/** From debit to credit. Never changed: a correction is a new one. */
export const ledgerTransfers = pgTable(
  'ledger_transfers',
  {
    act: id('act').notNull(),
    /** Place within the act, from 1. */
    n: smallint('n').notNull(),
    debit: id('debit').notNull(),
    credit: id('credit').notNull(),
    amount: amount('amount').notNull(),
    /** Balances of both sides after it, for balances as of any time. */
    debitAfter: amount('debit_after').notNull(),
    creditAfter: amount('credit_after').notNull(),
    at: instant('at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.act, table.n] }),
    index('ledger_transfers_debit').on(table.debit, table.at, table.act, table.n),
    index('ledger_transfers_credit').on(table.credit, table.at, table.act, table.n),
    check('ledger_transfers_amount', sql`${table.amount} > 0`),
    check('ledger_transfers_sides', sql`${table.debit} <> ${table.credit}`),
  ],
)

/** Money set aside for something that is decided later: open, then posted, voided or expired. */
export const ledgerHolds = pgTable(
  'ledger_holds',
  {
    id: uuid('id').primaryKey(),
    account: id('account').notNull(),
    amount: amount('amount').notNull(),
    state: text('state').notNull(),
    expiresAt: instant('expires_at').notNull(),
    /** The act that made it, and the one that ended it. */
    opened: id('opened').notNull(),
    resolved: id('resolved'),
    /** What was transferred of it, when it was posted. */
    posted: amount('posted'),
  },
  (table) => [
    index('ledger_holds_due')
      .on(table.expiresAt)
      .where(sql`${table.state} = 'open'`),
    index('ledger_holds_account')
      .on(table.account)
      .where(sql`${table.state} = 'open'`),
    index('ledger_holds_opened').on(table.opened),
    // What somebody has set aside lately, whatever became of it.
    index('ledger_holds_spent').on(table.account, table.opened),
    check('ledger_holds_amount', sql`${table.amount} > 0`),
    check('ledger_holds_state', sql`${table.state} in ('open', 'posted', 'voided', 'expired')`),
  ],
)
