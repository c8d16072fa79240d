import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SQL } from 'bun'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { sqlState } from '../../db/transaction.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

/** Everything that the server's role may do, against the list beside this file. */

let database: TestDatabase
let owner: SQL
beforeAll(async () => {
  database = await testDatabase()
  owner = new SQL({ url: database.ownerUrl, max: 1 })
})
afterAll(async () => {
  await owner.close()
  await database.drop()
})

/** Columns are named where a right is not on the whole table. Partitions of a day have one line. */
const TABLES = `
  with relations as (
    select c.oid, n.nspname as schema, c.relname, c.relkind, c.relispartition
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and c.relkind in ('r', 'p', 'v', 'm', 'f')
  ), rights as (
    select r.oid, right_name,
      has_table_privilege($1, r.oid, right_name) as whole,
      case when right_name in ('select', 'insert', 'update', 'references') then (
        select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a
        where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
          and has_column_privilege($1, r.oid, a.attnum, right_name)) end as columns
    from relations r, unnest(array['select', 'insert', 'update', 'delete', 'truncate',
      'references', 'trigger', 'maintain']) as right_name
  )
  select distinct format('%s %s: %s', case when schema = 'public' then 'table' else schema end,
    regexp_replace(relname, '[0-9]{6,8}$', 'N'), coalesce((
      select string_agg(right_name || case when whole then '' else ' (' || columns || ')' end, ', '
        order by array_position(array['select', 'insert', 'update', 'delete'], right_name))
      from rights t where t.oid = r.oid and (whole or columns is not null)), 'nothing')) as line
  from relations r order by line`

const OTHERS = `
  select format('function %s: execute', p.proname) as line from pg_proc p
  where p.pronamespace = 'public'::regnamespace and has_function_privilege($1, p.oid, 'execute')
  union all
  select format('sequence %s: %s', c.relname, r) from pg_class c,
    unnest(array['usage', 'select', 'update']) as r
  where c.relkind = 'S' and c.relnamespace::regnamespace::text !~ '^pg_'
    and has_sequence_privilege($1, c.oid, r)
  union all
  select format('schema %s: %s', n.nspname, r) from pg_namespace n,
    unnest(array['usage', 'create']) as r
  where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    and has_schema_privilege($1, n.oid, r)
  union all
  select format('database: %s', r) from unnest(array['connect', 'create', 'temporary']) as r
  where has_database_privilege($1, current_database(), r)
  union all
  select format('member of %s', p.rolname) from pg_roles p
  where p.rolname <> $1 and pg_has_role($1, p.oid, 'member')
  union all
  select format('attribute %s', a) from pg_roles r, unnest(array[
    case when rolsuper then 'superuser' end, case when rolcreaterole then 'createrole' end,
    case when rolcreatedb then 'createdb' end, case when rolreplication then 'replication' end,
    case when rolbypassrls then 'bypassrls' end, case when rolinherit then 'inherit' end,
    case when rolcanlogin then 'login' end]) as a
  where r.rolname = $1 and a is not null
  union all
  select format('owns %s', d.objid) from pg_shdepend d join pg_roles r on r.oid = d.refobjid
  where r.rolname = $1 and d.deptype = 'o'
  order by line`

async function rights(sql: SQL = owner): Promise<string[]> {
  const role = new URL(database.url).username
  const lines = []
  for (const query of [OTHERS, TABLES]) {
    const rows = (await sql.unsafe(query, [role])) as { line: string }[]
    lines.push(...rows.map(({ line }) => line))
  }
  return lines
}

const listed = readFileSync(join(import.meta.dir, 'rights.txt'), 'utf8')
  .trimEnd()
  .split('\n')

describe('the server’s role may do', () => {
  test('what is listed, and nothing else', async () => {
    expect(await rights()).toEqual(listed)
  })

  test('is not for itself to give', async () => {
    // No error, but a warning: no privileges were granted.
    await database.db.sql.unsafe('grant all on payouts to current_user')
    await database.db.sql.unsafe('grant all on payouts to public')
    expect(await rights()).toEqual(listed)
  })

  test('control: whatever it is given beside is found', async () => {
    const role = new URL(database.url).username
    const name = new URL(database.ownerUrl).pathname.slice(1)
    for (const [given, line] of [
      [`grant update (iban) on payouts to ${role}`, /^table payouts: .*update \(iban, state/],
      [`grant delete on payments to public`, /^table payments: .*delete/],
      [`grant update on sequence ledger_act_id to ${role}`, /^sequence ledger_act_id: update/],
      [`grant create on schema public to public`, /^schema public: create/],
      [`grant temporary on database ${name} to public`, /^database: temporary/],
      ['grant execute on function ledger_post_one to public', /^function ledger_post_one/],
      [`grant usage on schema drizzle to ${role}`, /^schema drizzle: usage/],
    ] as const) {
      await owner`begin`
      try {
        await owner.unsafe(given)
        const fresh = (await rights()).filter((one) => !listed.includes(one))
        expect(fresh).toEqual([expect.stringMatching(line)])
      } finally {
        await owner`rollback`
      }
    }
  })
})

/** Ways to become somebody else, or to leave something that others run into. */
const DETOURS = {
  'make a schema': 'create schema mine',
  'make a function': 'create function f() returns int return 1',
  'make a temporary function': 'create function pg_temp.f() returns int return 1',
  'make a temporary table': 'create temporary table x (y int)',
  'make a temporary view': 'create temporary view x as select 1',
  'make a temporary sequence': 'create temporary sequence x',
  'select into a temporary table': 'select 1 into temporary x',
  'make a type': "create type x as enum ('a')",
  'make a domain': 'create domain x as int',
  'make an operator':
    'create operator public.=== (function = int4eq, leftarg = int, rightarg = int)',
  'make a cast': 'create cast (text as bytea) with inout',
  'make a view': 'create view x as select 1',
  'make a rule': 'create rule x as on insert to payouts do instead nothing',
  'make a trigger': `create trigger x before insert on payouts
    execute function suppress_redundant_updates_trigger()`,
  'make an event trigger': 'create event trigger x on ddl_command_start execute function f()',
  'make an extension': 'create extension pg_trgm',
  'make a language': 'create language x handler plpgsql_call_handler',
  'make a foreign server': 'create foreign data wrapper x',
  'make a publication': 'create publication x for all tables',
  'make a subscription': "create subscription x connection 'host=x' publication y",
  'make a role': 'create role x',
  'make a database': 'create database x',
  'make a policy': 'create policy x on payouts',
  'make an index': 'create index on payouts (iban)',
  'change a function': 'alter function ledger_post_one set search_path = pg_temp',
  'replace a function': `create or replace function public.ledger_close_account(bigint)
    returns boolean return true`,
  'switch a trigger off': 'alter table payouts disable trigger payouts_steps',
  'switch all triggers off': 'set session_replication_role = replica',
  'change the defaults of others':
    'alter default privileges for role rialto_owner grant all on tables to public',
  'become the owner': 'set role rialto_owner',
  'become the superuser': 'set session authorization postgres',
  'raise itself': 'alter role current_user superuser',
  'give itself the owner': 'grant rialto_owner to current_user',
  'take a number back': "select setval('ledger_accounts_id_seq', 1)",
  'take a number': "select nextval('payments_number_seq')",
  'read a file': "select pg_read_file('PG_VERSION')",
  'list files': "select pg_ls_dir('.')",
  'read a file into a large object': "select lo_import('/etc/hostname')",
  'write a large object into a file': "select lo_export(1, '/tmp/x')",
  'copy into a file': "copy users to '/tmp/x'",
  'copy from a file': "copy users from '/etc/hostname'",
  'run a program': "copy (select 1) to program 'true'",
  'read passwords': 'select * from pg_authid',
  'write the catalog': "update pg_proc set prosecdef = true where proname = 'ledger_post_one'",
  'read what was migrated': 'select * from drizzle.__drizzle_migrations',
  'load a library': "load 'plpgsql_check'",
  'change the configuration': "alter system set fsync = 'off'",
  'change the database': 'alter database postgres set search_path = pg_temp',
  'empty a table': 'truncate sessions',
  'seal a table off': 'alter table payouts rename to x',
  'call what the owner calls': "select rialto_add_audit_month('2031-01-01')",
  'reach past the parent': 'delete from idempotency_default',
  'forget an answer': 'delete from idempotency',
  'change an answer': "update idempotency set answer = ''",
} as const

describe('the server’s role may not', () => {
  test.each(Object.entries(DETOURS))('%s', async (_what, statement) => {
    const sql = new SQL({ url: database.url, max: 1 })
    const state = await sql.unsafe(statement).then(() => 'allowed', sqlState)
    await sql.close()
    expect(state).toBe('42501')
  })
})
