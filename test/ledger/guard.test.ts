import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { SQL } from 'bun'
import { sqlState } from '../../db/transaction.ts'
import type { Account } from '../../src/ledger/index.ts'
import { expectLedgerCoherent, wallet } from '../support/books.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'

/** What a hostile statement inside the server could do to the books: nothing. */

let world: TestKernel
let sql: SQL
let ada: Account
let bob: Account
beforeAll(async () => {
  world = await testKernel({ features: [] })
  sql = new SQL({ url: world.database.url, max: 1 })
  ada = await wallet(world.kernel, 100n)
  bob = await wallet(world.kernel, 0n)
})
afterAll(async () => {
  await sql.close()
  await expectLedgerCoherent(world.database)
  await world.close()
})

describe('the server’s role may not', () => {
  const tables = [
    'ledger_assets',
    'ledger_account_kinds',
    'ledger_accounts',
    'ledger_acts',
    'ledger_transfers',
    'ledger_holds',
  ]
  test.each([
    'update ledger_accounts set balance = balance + 100',
    'update ledger_accounts set floor = null',
    'update ledger_account_kinds set floor = null',
    "insert into ledger_accounts (asset, kind, balance) values ('EUR', 'wallet', 100)",
    'update ledger_transfers set amount = 1',
    'insert into ledger_transfers values (1, 9, 1, 2, 5, 0, 0, now())',
    "insert into ledger_assets values ('XXX', 'x', 2, true)",
    "select setval('ledger_act_id', 1)",
    "select nextval('ledger_act_id')",
    'create trigger x before insert on ledger_transfers for each row execute function f()',
    'alter table ledger_accounts drop constraint ledger_accounts_floor',
    'create or replace function ledger_decimal(numeric, smallint) returns text return 1',
    'set session_replication_role = replica',
    'set role postgres',
    ...tables.map((table) => `delete from ${table}`),
    ...tables.map((table) => `truncate ${table} cascade`),
    ...tables.map((table) => `drop table ${table}`),
  ])('%s', async (statement) => {
    const state = await sql.unsafe(statement).then(() => 'allowed', sqlState)
    // Not owner, no privilege, or not even a superuser's setting.
    expect(state).toBe('42501')
  })
})

type Cell = string | number | null | undefined

/** The posting function, called as no code of ours would. */
async function post(
  entries: readonly { op?: Cell; debit?: Cell; credit?: Cell; amount?: Cell }[],
  options: { accounts?: number[]; hold?: string; acts?: string } = {},
): Promise<string> {
  const accounts = options.accounts ?? [ada.id, bob.id].toSorted((a, b) => a - b)
  const key = `"\\\\x${Buffer.from(crypto.randomUUID()).toString('hex')}"`
  const list = (values: readonly Cell[]) => `{${values.map((v) => v ?? 'NULL').join(',')}}`
  const of = (name: 'op' | 'debit' | 'credit' | 'amount', standard: Cell) =>
    list(entries.map((entry) => (name in entry ? entry[name] : standard)))
  return await sql`
    select outcomes from ledger_post(
      ${list(accounts)}::text::bigint[], ${`{${key}}`}::text::bytea[],
      ${`{${key}}`}::text::bytea[], '{x}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}',
      ${options.acts ?? list(entries.map(() => 1))}::text::int[], ${of('op', 0)}::text::int[],
      ${of('debit', 1)}::text::int[], ${of('credit', 2)}::text::int[],
      ${of('amount', 1)}::text::numeric[],
      ${list(entries.map(() => options.hold))}::text::uuid[],
      ${list(entries.map(() => '"2100-01-01"'))}::text::timestamptz[], null)`.then(
    ([row]: [{ outcomes: string[] }]) => row.outcomes.join(),
    (error: unknown) => sqlState(error) ?? String(error),
  )
}

describe('the posting function, called by an enemy,', () => {
  test.each([
    ['half a cent', { amount: '0.5' }, 'amount_invalid'],
    ['not a number', { amount: '"NaN"' }, 'amount_invalid'],
    ['infinity', { amount: '"Infinity"' }, 'amount_invalid'],
    ['minus infinity', { amount: '"-Infinity"' }, 'amount_invalid'],
    ['nothing', { amount: null }, 'amount_invalid'],
    ['less than nothing', { amount: -5 }, 'amount_invalid'],
    ['an account that is not locked', { debit: 3 }, '22023'],
    ['place zero', { credit: 0 }, '22023'],
    ['no side', { credit: null }, '22023'],
    ['an operation that there is not', { op: 7 }, '22023'],
    ['no operation', { op: null }, '22023'],
    ['a hold that is nowhere', { op: 2 }, 'hold_unknown'],
    ['releasing nothing', { op: 3 }, 'hold_unknown'],
  ])('refuses %s', async (_name, entry, expected) => {
    expect(await post([entry])).toBe(expected)
  })

  test('refuses accounts that are unknown, twice the same, or out of order', async () => {
    const [low, high] = [ada.id, bob.id].toSorted((a, b) => a - b) as [number, number]
    expect(await post([{}], { accounts: [low, 999_999_999] })).toBe('22023')
    expect(await post([{}], { accounts: [low, low] })).toBe('22023')
    expect(await post([{}], { accounts: [high, low] })).toBe('22023')
  })

  test('posts nothing of entries that belong to no act', async () => {
    expect(await post([{}], { acts: '{2}' })).toBe('empty')
  })

  test('does not make money out of a wallet that is not there, nor give an overdraft', async () => {
    const opened = await sql`
      select ledger_open_account('EUR', 'wallet', ${crypto.randomUUID()}::uuid, 'mine') as id`
    const account = Number(opened[0].id)
    const accounts = [account, ada.id].toSorted((a, b) => a - b)
    const debit = accounts.indexOf(account) + 1
    expect(await post([{ debit, credit: 3 - debit }], { accounts })).toBe('insufficient_funds')
    for (const kind of ['nothing', '']) {
      const state = await sql`select ledger_open_account('EUR', ${kind}, null, '')`.then(
        () => 'opened',
        sqlState,
      )
      expect(state).toBe('23503')
    }
  })
})
