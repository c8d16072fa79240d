import type { SQL } from 'bun'

/**
 * What the server's role may do, said anew at every start by the owner of the tables: rows, and of
 * what proves something only what has to change. `test/db/rights.txt` lists what comes of it, table
 * by table and column by column. What rights cannot say (which way a row may go) triggers do.
 */

/**
 * Rows of all tables, and no schema of its own: neither in `public` nor for temporary tables, whose
 * names would be found before ours and whose triggers run as whoever writes into them. Numbers come
 * from identity columns, which need no right on their sequence.
 */
const GENERAL = `
  revoke create on schema public from public;
  revoke temporary on database DATABASE from public;
  revoke create, temporary on database DATABASE from SERVER;
  grant connect on database DATABASE to SERVER;
  grant usage on schema public to SERVER;
  grant select, insert, update, delete on all tables in schema public to SERVER;
  revoke all on all sequences in schema public from SERVER;
  grant execute on function rialto_rotate_idempotency() to SERVER;
  revoke update, delete on idempotency from SERVER;
`

/** Partitions are reached through their parent only, whose rights count. */
const PARTITIONS = `
  do $rights$
  declare
    part regclass;
  begin
    for part in
      select i.inhrelid from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
    loop
      execute format('revoke all on %s from %s', part, QUOTED);
    end loop;
  end $rights$;
`

/**
 * The ledger is read, and changed by its own functions alone: a balance is the sum of its transfers
 * by construction, whatever statement a bug or an attacker gets into the server.
 */
const LEDGER = `
  revoke insert, update, delete, truncate, references, trigger on
    ledger_assets, ledger_account_kinds, ledger_accounts, ledger_acts, ledger_transfers,
    ledger_holds from SERVER;
  grant execute on function ledger_open_account, ledger_close_account, ledger_post to SERVER;
`

/**
 * Who asked, for what and who would gain by it cannot be rewritten after the fact, nor what a
 * provider or a bank has said, nor to whom how much is paid out; decisions are written beside it.
 * What is asked for is asked undecided.
 */
const EVIDENCE = `
  revoke insert, update, delete on approvals from SERVER;
  grant insert (id, kind, subject, details, requested_by, requested_at, expires_at, barred)
    on approvals to SERVER;
  grant update (state, decided_by, decided_at, note) on approvals to SERVER;
  revoke update, delete on external_statements, reconciliations from SERVER;
  revoke update, delete on payment_events from SERVER;
  grant update (deliveries, body) on payment_events to SERVER;
  revoke update, delete on payments from SERVER;
  grant update (user_id, asset, amount, refunded, credited, returned, trouble, updated_at)
    on payments to SERVER;
  revoke update, delete on payment_disputes from SERVER;
  grant update (state, hold, updated_at) on payment_disputes to SERVER;
  revoke update on payout_destinations from SERVER;
  revoke update, delete on payouts from SERVER;
  grant update (state, reason, updated_at, file_id, bank_reference) on payouts to SERVER;
  revoke update, delete on payout_files from SERVER;
  grant update (state, delivered_at, delivered_as) on payout_files to SERVER;
`

/**
 * Lines of the audit log are written once. What the server's role may do beyond that are the acts
 * that the owner lends it (see the migration), and the erasing of personal data, which the log
 * shows.
 */
const AUDIT = `
  revoke all on audit_pending, audit_log, audit_personal, audit_head, audit_keys, audit_trims
    from SERVER;
  grant select on audit_pending, audit_log, audit_personal, audit_head, audit_keys, audit_trims
    to SERVER;
  grant insert on audit_pending, audit_keys, audit_trims to SERVER;
  grant update (secret) on audit_keys to SERVER;
  grant delete on audit_personal to SERVER;
  grant execute on function
    rialto_seal_audit(bigint, bytea, timestamptz, text, json), rialto_rotate_audit(),
    rialto_expired_audit(), rialto_drop_audit() to SERVER;
`

/**
 * Gives a role these rights and takes all others. One command, so that there is no moment at which
 * it has more.
 */
export async function grantRights(sql: SQL, role: string): Promise<void> {
  const [names] = await sql`
    select quote_ident(${role}) as role, quote_literal(quote_ident(${role})) as quoted,
      quote_ident(current_database()) as database`
  const all = GENERAL + PARTITIONS + LEDGER + EVIDENCE + AUDIT
  await sql.unsafe(
    all
      .replaceAll('SERVER', () => names.role)
      .replaceAll('DATABASE', () => names.database)
      .replaceAll('QUOTED', () => names.quoted),
  )
}
