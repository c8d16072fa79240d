import { SQL } from 'bun'
import { Accounts, balanceAt, balanceOf } from '../../src/ledger/index.ts'
import { act, type Book, clients, inBatches, pair, post } from './workloads.ts'

/** How the cost of a transfer grows with what is there already. */

const STEPS = [
  { accounts: 1_000, transfers: 0 },
  { accounts: 1_000, transfers: 1_000_000 },
  { accounts: 1_000_000, transfers: 1_000_000 },
  { accounts: 1_000_000, transfers: 5_000_000 },
] as const
const SECONDS = 10
const RICH = 10n ** 12n

/** Adds accounts as the owner: a million calls would measure nothing of interest. */
async function moreAccounts(sql: SQL, target: number): Promise<void> {
  await sql`
    insert into ledger_accounts (asset, kind, reference, floor)
    select 'EUR', 'pool', 'growth ' || n, 0 from generate_series(1, ${target}) n
    on conflict do nothing`
  await sql`analyze ledger_accounts`
}

/** Transfers between pools chosen at random, in batches. */
async function transferOver(book: Book, people: Book['people'], count: number): Promise<void> {
  for (let n = 0; n < count; n += 10_000) {
    await Promise.all(
      Array.from({ length: 4 }, () =>
        inBatches(
          book,
          Array.from({ length: 25 }, () => act(Array.from({ length: 100 }, () => pair(people)))),
        ),
      ),
    )
  }
}

async function peopleOf(book: Book, sql: SQL, count: number): Promise<Book['people']> {
  const rows = (await sql`
    select id::text from ledger_accounts where kind = 'pool' order by id limit ${count}`) as {
    id: string
  }[]
  const asset = await book.kernel.use(Accounts).asset('EUR')
  return rows.map(({ id }) => {
    return { id: Number(id), asset, kind: 'pool', owner: undefined, reference: '' } as const
  })
}

/** The table of costs, in single transfers by 32 clients. */
export async function growth(book: Book, ownerUrl: string): Promise<string> {
  const sql = new SQL({ url: ownerUrl, max: 1 })
  const rows: string[] = []
  let transfers = 0
  let first: number | undefined
  for (const step of STEPS) {
    await moreAccounts(sql, step.accounts)
    const people = await peopleOf(book, sql, step.accounts)
    const [row] = await sql`select count(*)::int as n from ledger_accounts where balance = 0`
    if (row.n > 1) await fill(book, people)
    await transferOver(book, people, step.transfers - transfers)
    transfers = Math.max(transfers, step.transfers)
    await sql`checkpoint`.catch(() => undefined)
    const done = await clients(32, SECONDS, 1, () => post(book, [act([pair(people)])]))
    const rate = done / SECONDS
    first ??= rate
    const cells = [step.accounts, step.transfers, Math.round(rate), (first / rate).toFixed(2)]
    rows.push(`| ${cells.join(' | ')} |`)
    console.log(rows.at(-1))
  }
  await sql.close()
  return [
    '| accounts | transfers before | single transfers/s | cost of one, of the first |',
    '| --: | --: | --: | --: |',
    ...rows,
  ].join('\n')
}

async function fill(book: Book, people: Book['people']): Promise<void> {
  for (let n = 0; n < people.length; n += 1_000) {
    const some = people.slice(n, n + 1_000)
    await post(book, [act(some.map((credit) => [book.outside, credit, RICH] as const))])
  }
}

/** Balances now and as of any instant, on the account with the most transfers. */
export async function asOf(book: Book): Promise<string> {
  const { db } = book
  const busy = await book.kernel
    .use(Accounts)
    .open({ asset: 'EUR', kind: 'fee', reference: 'busy' })
  for (let n = 0; n < 1_000_000; n += 40_000) {
    await Promise.all(
      Array.from({ length: 4 }, () =>
        inBatches(
          book,
          Array.from({ length: 10 }, () =>
            act(Array.from({ length: 1_000 }, () => [pair(book.people)[0], busy, 1n] as const)),
          ),
        ),
      ),
    )
  }
  const [row] = await db.sql`
    select min(at)::text as first, max(at)::text as last, count(*)::int as n from ledger_transfers
    where credit = ${busy.id}`
  const [from, to] = [Date.parse(row.first), Date.parse(row.last)]
  const times = async (work: () => Promise<unknown>) => {
    const all: number[] = []
    for (let n = 0; n < 500; n++) {
      const startMs = performance.now()
      await work()
      all.push(performance.now() - startMs)
    }
    all.sort((a, b) => a - b)
    return `${all[250]?.toFixed(2)} ms (p99 ${all[495]?.toFixed(2)} ms)`
  }
  const now = await times(() => balanceOf(db.sql, busy))
  const then = await times(() =>
    balanceAt(db.sql, busy, new Date(from + Math.random() * (to - from)).toISOString()),
  )
  return `With ${row.n} transfers on one account, its balance now takes ${now}, as of a random
instant ${then}.`
}
