import { SQL } from 'bun'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { sqlState } from '../../db/transaction.ts'
import { auditFeature } from '../../src/audit/index.ts'
import { type TestKernel, testKernel } from '../support/kernel.ts'
import { asOwner, writeLines } from './setup.ts'

/** What a hostile statement inside the server could do to the log: read, add, erase on record. */

const ADA = '0198a000-0000-7000-8000-00000000ada0'
const REFUSED = '42501'

let t: TestKernel
let month: string
beforeAll(async () => {
  t = await testKernel({ features: [auditFeature] })
  await writeLines(t.kernel, 3, ADA)
  await t.kernel.audit.insert(t.kernel.db.sql, [])
  const [row] = await t.kernel.db.sql`select to_char(now(), 'YYYYMM') as month`
  month = row.month
})
afterAll(() => t.close())

/** How a statement ends for the server's role. */
async function tried(statement: string): Promise<string | undefined> {
  const sql = new SQL({ url: t.database.url, max: 1 })
  try {
    return await sql.unsafe(statement.replaceAll('MONTH', month)).then(() => 'allowed', sqlState)
  } finally {
    await sql.close()
  }
}

describe('the server’s role may not', () => {
  const tables = ['audit_pending', 'audit_log', 'audit_head', 'audit_trims', 'audit_log_MONTH']
  const more = ['audit_personal_MONTH', 'audit_log_default', 'audit_personal_default']
  test.each(
    [...tables, ...more].flatMap((table) => [
      `delete from ${table}`,
      `truncate ${table}`,
      `drop table ${table}`,
      `begin; lock table ${table} in access exclusive mode`,
      `create trigger x before update on ${table}
        execute function suppress_redundant_updates_trigger()`,
      `alter table ${table} add column x int`,
    ]),
  )('%s', async (statement) => {
    expect(await tried(statement)).toBe(REFUSED)
  })

  test.each([
    `update audit_pending set line = ''`,
    `update audit_log set action = 'x'`,
    `update audit_log_MONTH set action = 'x'`,
    `insert into audit_log select * from audit_log`,
    `insert into audit_log_MONTH select * from audit_log`,
    'select * from audit_log_MONTH',
    'select * from audit_personal_MONTH',
    `update audit_personal set data = '{}'`,
    `insert into audit_personal select * from audit_personal`,
    'truncate audit_personal',
    'truncate audit_keys',
    'delete from audit_keys',
    `update audit_keys set id = 'x'`,
    `update audit_head set position = 0`,
    `insert into audit_head values (false, 0, '', now())`,
    `update audit_trims set hash = ''`,
    'select * from audit_head for update',
    'alter table audit_log detach partition audit_log_MONTH',
    `select rialto_add_audit_month('2020-01-01')`,
    'set role rialto_owner_of_nothing',
  ])('%s', async (statement) => {
    expect(['22023', REFUSED]).toContain((await tried(statement)) as string)
  })
})

test('what it needs it may', async () => {
  const needed = [
    'select count(*) from audit_log',
    'select count(*) from audit_personal',
    `delete from audit_personal where position = -1`,
    'select rialto_rotate_audit()',
    'select * from rialto_expired_audit()',
    'select rialto_drop_audit()',
  ]
  for (const statement of needed) expect([statement, await tried(statement)]).toContain('allowed')
})

describe('sealing by hand', () => {
  const seal = (head: string, seals: string, sealed = 'now()') =>
    tried(`select rialto_seal_audit(${head}, ${sealed}, '00000000', ${seals})`)
  const HEAD = '(select position from audit_head), (select hash from audit_head)'
  const one = (n: number, number: string) =>
    `json_build_array(json_build_object('n', ${n}, 'number', ${number}, 'hash', '\\x00'))`

  test.each([
    ['of a line that does not wait', one(1, '999999')],
    ['of no line', `'[]'`],
    ['of an object', `'{}'`],
    ['with a gap', one(2, '1')],
    ['before the first place', one(0, '1')],
  ])('%s is refused', async (_what, seals) => {
    expect(['P0001', '22023']).toContain((await seal(HEAD, seals)) as string)
  })

  test('before earlier lines is refused', async () => {
    expect(await seal(HEAD, one(1, '1'), `'epoch'`)).toBe('P0001')
  })

  test('onto another head does nothing', async () => {
    expect(await seal(`0, '\\x00'`, one(1, '1'))).toBe('allowed')
    const [head] = await t.kernel.db.sql`select position::int as position from audit_head`
    expect(head.position).toBe(3)
  })

  test('finds the tables of the log, not temporary ones of the same name', async () => {
    // It may make none; this is what holds where it may.
    const database = new URL(t.database.url).pathname.slice(1)
    await asOwner(t.database.ownerUrl, (sql) =>
      sql.unsafe(`grant temporary on database ${database} to public`),
    )
    const sql = new SQL({ url: t.database.url, max: 1 })
    await sql`create temporary table audit_head (like audit_head)`
    await sql`insert into pg_temp.audit_head values (true, 0, '', 'epoch')`
    const [row] =
      await sql`select rialto_seal_audit(0, '', now(), 'x', ${'[]'}::text::json) as done`
    expect(row.done).toBe(false)
    await sql.close()
  })
})

test('a month that is added later is no way around', async () => {
  await asOwner(t.database.ownerUrl, (sql) => sql`select rialto_add_audit_month('2031-05-01')`)
  for (const verb of ['select * from', 'delete from', 'truncate']) {
    expect(await tried(`${verb} audit_log_203105`)).toBe(REFUSED)
  }
})
