import { createHmac } from 'node:crypto'
import type { SQL } from 'bun'
import type { Clock } from '../src/base/clock.ts'
import type { Logger } from '../src/observe/log.ts'
import { migrateSchema } from './migrate.ts'
import { isConnectionFailure, sqlState } from './transaction.ts'

/**
 * Two roles: the owner, who migrates and whose URL the operator gives, and the server's own, made
 * here, which can read and write rows but not change tables, empty them or add triggers. What a
 * hostile statement inside the server could do is bounded by the second.
 */

export interface PreparedDatabase {
  /** The URL that the server works with. */
  readonly url: string
  /** False where the owner may not create roles, so that the server runs as the owner. */
  readonly separated: boolean
}

/** How long a database that is not there yet (containers starting together) is waited for. */
const WAIT_MS_MAX = 30_000

/**
 * Brings the database up to date and makes the server's role, under one advisory lock, so that
 * instances may start together.
 */
export async function prepareDatabase(options: {
  ownerUrl: string
  clock: Clock
  log: Logger
}): Promise<PreparedDatabase> {
  const { ownerUrl, clock, log } = options
  const startMs = clock.monotonicMs()
  for (;;) {
    try {
      return await migrateSchema(ownerUrl, log, (sql) => prepareRole(sql, ownerUrl, log))
    } catch (error) {
      if (!isConnectionFailure(error) || clock.monotonicMs() - startMs > WAIT_MS_MAX) throw error
      log.warn('waiting for the database', { error: (error as Error).message })
      await clock.sleep(500)
    }
  }
}

async function prepareRole(sql: SQL, ownerUrl: string, log: Logger): Promise<PreparedDatabase> {
  const url = new URL(ownerUrl)
  const [row] = await sql`select current_database() as database`
  const role = `${row.database}_server`
  // Every instance has the owner's password, so all of them come to the same one for the server.
  const password =
    url.password === ''
      ? undefined
      : createHmac('sha256', decodeURIComponent(url.password)).update(role).digest('base64url')
  try {
    await createRole(sql, role, password)
  } catch (error) {
    if (sqlState(error) !== '42501') throw error
    log.warn('the database owner may not create roles: the server runs as the owner', { role })
    return { url: ownerUrl, separated: false }
  }
  url.username = role
  if (password !== undefined) url.password = password
  return { url: url.href, separated: true }
}

/**
 * The ledger is read, and changed by its own functions alone: a balance is the sum of its transfers
 * by construction, whatever statement a bug or an attacker gets into the server.
 */
const LEDGER_GUARD = `
  revoke insert, update, delete, truncate, references, trigger on
    ledger_assets, ledger_account_kinds, ledger_accounts, ledger_acts, ledger_transfers,
    ledger_holds from SERVER;
  revoke all on sequence ledger_act_id from SERVER;
  grant execute on function ledger_open_account, ledger_close_account, ledger_post to SERVER;
`

/**
 * Who asked, for what and who would gain by it cannot be rewritten after the fact, nor what a
 * provider or a bank has said; decisions are written beside it.
 */
const EVIDENCE_GUARD = `
  revoke update, delete on approvals, external_statements, reconciliations from SERVER;
  grant update (state, decided_by, decided_at, note) on approvals to SERVER;
  revoke update, delete on payment_events from SERVER;
  grant update (deliveries, body) on payment_events to SERVER;
  revoke delete on payments, payment_disputes, payouts from SERVER;
  revoke update, delete on payout_files from SERVER;
  grant update (state, delivered_at, delivered_as) on payout_files to SERVER;
`

async function createRole(sql: SQL, role: string, password: string | undefined): Promise<void> {
  const [names] = await sql`
    select quote_ident(${role}) as role, quote_literal(${password ?? ''}) as password,
      exists(select from pg_roles where rolname = ${role}) as present,
      quote_ident(current_database()) as database`
  const secret = password === undefined ? '' : `password ${names.password}`
  // Of an existing role only a superuser may name the other attributes, even to leave them off.
  const attributes = names.present
    ? ''
    : 'nosuperuser nocreatedb nocreaterole noinherit noreplication'
  await sql.unsafe(
    `${names.present ? 'alter' : 'create'} role ${names.role} login ${attributes} ${secret}`,
  )
  await sql.unsafe(`
    revoke create on schema public from public;
    grant connect on database ${names.database} to ${names.role};
    grant usage on schema public to ${names.role};
    grant select, insert, update, delete on all tables in schema public to ${names.role};
    grant usage on all sequences in schema public to ${names.role};
    grant execute on function rialto_rotate_idempotency() to ${names.role};
    ${(LEDGER_GUARD + EVIDENCE_GUARD).replaceAll('SERVER', names.role)}
    ${auditRights(names.role)}
  `)
}

/**
 * Lines of the audit log are written once. What the server's role may do beyond that are the acts
 * that the owner lends it (see the migration), and the erasing of personal data, which the log
 * shows. Part of the same command as the grant to all tables, so that there is no moment between.
 */
function auditRights(role: string): string {
  return `
    do $guard$
    declare
      part regclass;
    begin
      -- Reached through the parent only, whose rights count; not what the grant has given each.
      for part in
        select inhrelid from pg_inherits
        where inhparent in ('audit_log'::regclass, 'audit_personal'::regclass)
      loop
        execute format('revoke all on %s from ${role}', part);
      end loop;
    end $guard$;
    revoke all on audit_pending, audit_log, audit_personal, audit_head, audit_keys, audit_trims
      from ${role};
    grant select on audit_pending, audit_log, audit_personal, audit_head, audit_keys, audit_trims
      to ${role};
    grant insert on audit_pending, audit_keys, audit_trims to ${role};
    grant update (secret) on audit_keys to ${role};
    grant delete on audit_personal to ${role};
    grant execute on function
      rialto_seal_audit(bigint, bytea, timestamptz, text, json), rialto_rotate_audit(),
      rialto_expired_audit(), rialto_drop_audit() to ${role};`
}
