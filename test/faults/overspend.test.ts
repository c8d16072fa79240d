import { SQL } from 'bun'
import { afterAll, afterEach, beforeAll, expect, test } from 'bun:test'
import { sqlState } from '../../db/transaction.ts'
import type { Act } from '../../src/ledger/act.ts'
import {
  type Account,
  balanceOf,
  postActs,
  postedAct,
  PostingBatcher,
  reversalOf,
} from '../../src/ledger/index.ts'
import { expectLedgerCoherent, wallet } from '../support/books.ts'
import { budget, type Chance, chance } from '../support/budget.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { until } from '../support/wait.ts'

/**
 * Nobody spends what is not there, however many try at once: clients that act all the time on a few
 * accounts, and then everything is taken back, twice.
 */

const CLIENTS = 64
const ACCOUNTS = 80
const TRANSFERS = budget(4_000, 50_000)
/** Little enough that many transfers find nothing left. */
const START = 30n

let world: TestKernel
let owner: SQL
beforeAll(async () => {
  world = await testKernel({ features: [] })
  owner = new SQL({ url: world.database.ownerUrl, max: CLIENTS })
})
afterEach(() => expectLedgerCoherent(world.database))
afterAll(async () => {
  await owner.close()
  await world.close()
})

const deadlocks = async () => {
  await owner`select pg_stat_clear_snapshot()`
  const [row] = await owner`
    select deadlocks::int from pg_stat_database where datname = current_database()`
  return row.deadlocks as number
}

/** Runs `count` pieces of work by many clients at once. */
async function clients<T>(count: number, work: (n: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      for (let n = next++; n < count; n = next++) results[n] = await work(n)
    }),
  )
  return results
}

async function people(): Promise<Account[]> {
  return await Promise.all(Array.from({ length: ACCOUNTS }, () => wallet(world.kernel, START)))
}

let campaign = 0
function transfers(luck: Chance, accounts: readonly Account[]): Act[] {
  const name = ++campaign
  return Array.from({ length: TRANSFERS }, (_, n) => {
    const debit = luck.pick(accounts)
    let credit = luck.pick(accounts)
    while (credit === debit) credit = luck.pick(accounts)
    const amount = BigInt(1 + luck.below(25))
    const entries = [{ type: 'transfer', debit, credit, amount }] as const
    return { key: `overspend ${name} ${n}`, kind: 'test', entries }
  })
}

const ways = {
  'through the posting batcher': (act: Act) => world.kernel.use(PostingBatcher).submit(act),
  'each in a transaction of its own': async (act: Act) => {
    const { outcomes } = await world.kernel.db.transaction(({ sql }) => postActs(sql, [act]))
    return outcomes[0]!
  },
}

test.each(Object.keys(ways) as (keyof typeof ways)[])(
  'nothing is overspent, everything can be taken back once, %s',
  async (way) => {
    const luck = chance(`overspend ${way}`)
    const accounts = await people()
    const before = await deadlocks()
    const outcomes = await clients(
      TRANSFERS,
      (
        (acts) => (n: number) =>
          ways[way](acts[n]!)
      )(transfers(luck, accounts)),
    )
    const done = outcomes.filter((o) => o.posted)
    const refused = outcomes.filter((o) => !o.posted)
    expect(done.length + refused.length).toBe(TRANSFERS)
    // Both happen a lot, or nothing has been tested.
    expect(Math.min(done.length, refused.length)).toBeGreaterThan(TRANSFERS / 20)
    expect(new Set(refused.map((o) => !o.posted && o.refusal))).toEqual(
      new Set(['insufficient_funds']),
    )
    const [row] = await owner`
      select min(balance)::int as least, sum(balance)::int as total from ledger_accounts
      where id = any(${`{${accounts.map(({ id }) => id).join(',')}}`}::text::bigint[])`
    expect(row.least).toBeGreaterThanOrEqual(0)
    expect(row.total).toBe(ACCOUNTS * Number(START))

    // Newest first, so that what came in is still there when it is to go back.
    const acts = done.map(postedAct).toSorted((a, b) => (a > b ? -1 : 1))
    let taken = 0
    for (const act of acts) {
      const back = await reversalOf(world.kernel, owner, act, { actor: 'test' })
      const [first, second] = await Promise.all([
        ways[way](back),
        ways[way]({ ...back, key: `${back.key} again` }),
      ])
      expect([first, second].filter((o) => o.posted)).toHaveLength(1)
      taken++
    }
    expect(taken).toBe(acts.length)
    for (const account of accounts) {
      expect((await balanceOf(owner, account)).balance).toBe(START)
    }
    expect(await deadlocks()).toBe(before)
  },
  Math.max(120_000, TRANSFERS * 40),
)

/** A table as somebody would make it first: no floor in it, and no function before it. */
async function naiveTable(): Promise<void> {
  await owner.unsafe(`
    drop table if exists naive;
    create table naive (id int primary key, balance bigint not null);
    insert into naive select n, ${START} from generate_series(1, ${ACCOUNTS}) n`)
}

test('the control: reading before writing overspends', async () => {
  const luck = chance('overspend control')
  await naiveTable()
  await clients(400, async () => {
    const [id, amount] = [1 + luck.below(4), 1 + luck.below(25)]
    await owner.begin(async (sql) => {
      const [row] = await sql`select balance::int from naive where id = ${id}`
      if ((row.balance as number) < amount) return
      await sql`update naive set balance = balance - ${amount} where id = ${id}`
    })
  })
  const [{ least }] = await owner`select min(balance)::int as least from naive`
  expect(least).toBeLessThan(0)
})

test('the control: unsorted locks deadlock', async () => {
  await naiveTable()
  const before = await deadlocks()
  let arrived = 0
  const lock = (first: number, second: number) =>
    owner
      .begin(async (sql) => {
        await sql`select from naive where id = ${first} for update`
        arrived++
        while (arrived < 2) await Bun.sleep(1)
        await sql`select from naive where id = ${second} for update`
        return 'locked'
      })
      .catch(sqlState)
  const outcomes = await Promise.all([lock(1, 2), lock(2, 1)])
  expect(new Set(outcomes)).toEqual(new Set(['40P01', 'locked']))
  // The counters of a session come when it is idle.
  await until(async () => (await deadlocks()) > before, 'the deadlock is counted')
})
