import type { Database } from '../../db/client.ts'
import { systemClock } from '../../src/base/clock.ts'
import { type Kernel, serviceTable } from '../../src/kernel/kernel.ts'
import type { Act, ActOutcome } from '../../src/ledger/act.ts'
import { type Account, Accounts, postActs, PostingBatcher } from '../../src/ledger/index.ts'
import { createMetrics } from '../../src/observe/metrics.ts'

/** What the ledger is put through. */

const CLIENTS = 32
const PEOPLE = 1_000
const POOR = 80
const RICH = 10n ** 15n

/** A ledger with people in it. */
export interface Book {
  readonly db: Database
  readonly kernel: Kernel
  readonly people: readonly Account[]
  /** Those who run out of money now and then. */
  readonly poor: readonly Account[]
  readonly outside: Account
}

/** The part of a kernel that the ledger needs; balances are told to nobody here. */
function kernelOn(db: Database): Kernel {
  const metrics = createMetrics()
  const streams = { enqueue: () => Promise.resolve(), committed: () => undefined }
  const log = { warn: console.warn }
  const kernel: object = {
    db,
    clock: systemClock,
    metrics,
    log,
    streams,
    use: serviceTable(() => kernel as never),
  }
  return kernel as never
}

/** Opens accounts and fills them. */
export async function openBook(db: Database): Promise<Book> {
  const kernel = kernelOn(db)
  const accounts = kernel.use(Accounts)
  const outside = await accounts.open({ asset: 'EUR', kind: 'external', reference: 'bench' })
  const everybody: Account[] = []
  for (let n = 0; n < PEOPLE + POOR; n++) {
    const reference = `bench ${n}`
    everybody.push(await accounts.open({ asset: 'EUR', kind: 'pool', reference }))
  }
  const [people, poor] = [everybody.slice(0, PEOPLE), everybody.slice(PEOPLE)]
  const book = { db, kernel, people, poor, outside }
  await inBatches(
    book,
    everybody.map((credit) => act([[outside, credit, RICH]])),
  )
  return book
}

let acts = 0
const prefix = `bench ${process.pid} ${systemClock.now()}`

/** An act of transfers `[debit, credit, amount]`. */
export function act(transfers: readonly (readonly [Account, Account, bigint])[]): Act {
  return {
    key: `${prefix} ${++acts}`,
    kind: 'bench.transfer',
    entries: transfers.map(([debit, credit, amount]) => {
      return { type: 'transfer', debit, credit, amount } as const
    }),
  }
}

const below = (limit: number) => Math.floor(Math.random() * limit)

/** Two different ones. */
export function pair(people: readonly Account[]): readonly [Account, Account, bigint] {
  const debit = below(people.length)
  const credit = (debit + 1 + below(people.length - 1)) % people.length
  return [people[debit]!, people[credit]!, 1n]
}

function expectPosted(outcomes: readonly ActOutcome[], refusable = false): void {
  if (refusable) return
  const refused = outcomes.find(({ posted }) => !posted)
  if (refused !== undefined) throw new Error(`refused: ${JSON.stringify(refused)}`)
}

/** Posts in one statement, which is its own transaction. */
export async function post({ db }: Book, batch: readonly Act[], refusable = false): Promise<void> {
  expectPosted((await postActs(db.sql, batch)).outcomes, refusable)
}

/** Posts many acts, a hundred at a time. */
export async function inBatches(book: Book, all: readonly Act[]): Promise<void> {
  for (let n = 0; n < all.length; n += 100) await post(book, all.slice(n, n + 100))
}

/** Lets clients repeat `work` for a while. @returns transfers done */
export async function clients(
  count: number,
  seconds: number,
  each: number,
  work: () => Promise<void>,
): Promise<number> {
  const endMs = performance.now() + seconds * 1000
  let done = 0
  await Promise.all(
    Array.from({ length: count }, async () => {
      while (performance.now() < endMs) {
        await work()
        done += each
      }
    }),
  )
  return done
}

const HUNDRED = Array.from({ length: 100 }, (_, n) => n)

/** A workload; `work` answers how many transfers it has done. */
export interface Workload {
  readonly name: string
  readonly title: string
  /** Of pgbench's rate. */
  readonly wanted: string
  readonly work: (book: Book, seconds: number) => Promise<number>
}

const submit = async ({ kernel }: Book, one: Act) => {
  expectPosted([await kernel.use(PostingBatcher).submit(one)])
}

/** Everything that issue and documentation give a figure for. */
export const WORKLOADS: readonly Workload[] = [
  {
    name: 'single',
    title: 'single transfers, spread accounts, 32 clients',
    wanted: '1.2',
    work: (book, seconds) =>
      clients(CLIENTS, seconds, 1, () => post(book, [act([pair(book.people)])])),
  },
  {
    name: 'spread-combined',
    title: 'single transfers, spread accounts, through the posting batcher, 32 callers',
    wanted: '',
    work: (book, seconds) =>
      clients(CLIENTS, seconds, 1, () => submit(book, act([pair(book.people)]))),
  },
  {
    name: 'hot-combined',
    title: 'all to one account through the posting batcher, 64 callers',
    wanted: '2',
    work: (book, seconds) =>
      clients(64, seconds, 1, () => {
        const [debit] = pair(book.people.slice(1))
        return submit(book, act([[debit, book.people[0]!, 1n]]))
      }),
  },
  {
    name: 'hot-alone',
    title: 'all to one account, each in a transaction of its own, 32 clients',
    wanted: '',
    work: (book, seconds) =>
      clients(CLIENTS, seconds, 1, () => {
        const [debit] = pair(book.people.slice(1))
        return post(book, [act([[debit, book.people[0]!, 1n]])])
      }),
  },
  {
    name: 'batch-judged',
    title: 'batches of 100, each transfer judged on its own, 4 clients',
    wanted: '4',
    work: (book, seconds) =>
      clients(4, seconds, 100, () =>
        post(
          book,
          HUNDRED.map(() => act([pair(book.people)])),
        ),
      ),
  },
  {
    name: 'batch-atomic',
    title: 'batches of 100, all or nothing, 4 clients',
    wanted: '6',
    work: (book, seconds) =>
      clients(4, seconds, 100, () => post(book, [act(HUNDRED.map(() => pair(book.people)))])),
  },
  {
    name: 'no-overdraft',
    title: 'no overdraft: 64 clients on 80 accounts, sums that often lack',
    wanted: '',
    work: (book, seconds) => {
      return clients(64, seconds, 1, () => {
        const [debit, credit] = pair(book.poor)
        return post(book, [act([[debit, credit, RICH / BigInt(1 + below(3))]])], true)
      })
    },
  },
]
