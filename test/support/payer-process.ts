/**
 * A process that pays out of a wallet through a bank outside, to be killed at any moment. Takes the
 * URL of the database, the bank's file and the order of work; prints `ready` once it has finished
 * what an earlier life has left, then pays until it is ended (or not at all, with `recover`).
 */
import { createHash } from 'node:crypto'
import { appendFileSync, closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { openDatabase } from '../../db/client.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { Act, Entry } from '../../src/ledger/act.ts'
import { Accounts, postedAct, PostingBatcher } from '../../src/ledger/index.ts'
import type { TestDatabase } from './database.ts'
import { testKernel } from './kernel.ts'

const [url = '', owner = '', file = '', order = '', mode = ''] = process.argv.slice(2)
const database = { url, ownerUrl: url, db: openDatabase({ url, clock: systemClock }) }
const { kernel } = await testKernel({ features: [], database: database as TestDatabase })
const accounts = kernel.use(Accounts)
const wallet = await accounts.open({ asset: 'EUR', kind: 'wallet', owner })
const bankAccount = await accounts.open({ asset: 'EUR', kind: 'external', reference: 'bank' })

/** The bank: a file of payments, one line each, that has arrived when it is on disk. */
const paid = () => {
  appendFileSync(file, '')
  return new Set(readFileSync(file, 'utf8').split('\n'))
}
function pay(n: number): void {
  const out = openSync(file, 'a')
  writeSync(out, `${n}\n`)
  fsyncSync(out)
  closeSync(out)
}

/** Moments in which most kills are to fall. */
const pause = () => Bun.sleep(Math.random() * 3)

const submit = async (key: string, kind: string, n: number, entries: Entry[]) => {
  const reference = { type: 'payment', id: String(n) }
  const act: Act = { key: `${key}:${n}`, kind, reference, entries }
  return postedAct(await kernel.use(PostingBatcher).submit(act))
}
/** The stored identity of a payment: the same after a restart. */
const holdOf = (n: number) => {
  const hex = createHash('sha256').update(`hold ${n}`).digest('hex')
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `4${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
  ]
  return [...parts, hex.slice(20, 32)].join('-')
}
const transfer = (): Entry[] => [
  { type: 'transfer', debit: wallet, credit: bankAccount, amount: 1n },
]
const post = (n: number) =>
  submit('pay.post', 'pay.post', n, [
    { type: 'post', hold: holdOf(n), account: wallet, credit: bankAccount, amount: 1n },
  ])

const orders: Record<string, (n: number) => Promise<void>> = {
  async 'reserve, pay, post'(n) {
    const expiresAtMs = Date.now() + 3_600_000
    const hold = {
      type: 'hold',
      hold: holdOf(n),
      account: wallet,
      amount: 1n,
      expiresAtMs,
    } as const
    await submit('pay.hold', 'pay.hold', n, [hold])
    await pause()
    pay(n)
    await pause()
    await post(n)
  },
  async 'pay, write'(n) {
    pay(n)
    await pause()
    await submit('pay', 'pay.post', n, transfer())
  },
  async 'write, pay'(n) {
    await submit('pay', 'pay.post', n, transfer())
    await pause()
    pay(n)
  },
}

/** Every unfinished payment is asked about, never repeated blindly. */
async function recover(): Promise<void> {
  const open = await kernel.db.sql`
    select a.ref_id from ledger_holds h join ledger_acts a on a.id = h.opened
    where h.state = 'open' and h.account = ${wallet.id}`
  const known = paid()
  for (const { ref_id } of open as { ref_id: string }[]) {
    if (!known.has(ref_id)) pay(Number(ref_id))
    await post(Number(ref_id))
  }
}

await recover()
console.log('ready')
if (mode === 'recover') process.exit(0)
const [row] = await kernel.db.sql`
  select coalesce(max(ref_id::int), 0) as last from ledger_acts where ref_type = 'payment'`
let next = Number(row.last)
await Promise.all(
  Array.from({ length: 8 }, async () => {
    for (;;) await orders[order]!(++next)
  }),
)
