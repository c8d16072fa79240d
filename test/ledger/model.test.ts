import { afterAll, beforeAll, expect, test } from 'bun:test'
import { SQL } from 'bun'
import type { Act, Entry } from '../../src/ledger/act.ts'
import { type Account, Accounts, balanceOf, postActs, reversalOf } from '../../src/ledger/index.ts'
import { expectLedgerCoherent, funds } from '../support/books.ts'
import { budget, type Chance, chance } from '../support/budget.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'

/**
 * The books balance: what random acts come to, against a model that fits on a page. Acts are of
 * several entries and posted in batches, so that judging, refusing and undoing within one call are
 * all compared. Time passes by the owner's hand.
 */

const RUNS = budget(500, 10_000)
const POSTINGS = 4
const ACTS = 6
const START = 40n

let world: TestKernel
let owner: SQL
let outside: Account
beforeAll(async () => {
  world = await testKernel({ features: [] })
  owner = new SQL({ url: world.database.ownerUrl, max: 1 })
  outside = await world.kernel
    .use(Accounts)
    .open({ asset: 'EUR', kind: 'external', reference: 'model' })
})
afterAll(async () => {
  await owner.close()
  await expectLedgerCoherent(world.database)
  await world.close()
})

interface ModelHold {
  readonly account: number
  readonly amount: bigint
  state: 'open' | 'posted' | 'voided' | 'expired'
  due: boolean
}

/** The ledger, as naively as can be. */
class Model {
  balances = new Map<number, bigint>()
  held = new Map<number, bigint>()
  holds = new Map<string, ModelHold>()
  readonly floors: ReadonlyMap<number, bigint>
  reversed = new Set<string>()

  constructor(accounts: readonly Account[]) {
    this.floors = new Map(
      accounts.flatMap(({ id, kind }) => (kind === 'external' ? [] : [[id, 0n]])),
    )
    for (const { id } of accounts) this.add(this.balances, id, 0n)
  }
  add(to: Map<number, bigint>, id: number, amount: bigint) {
    to.set(id, (to.get(id) ?? 0n) + amount)
  }
  /** All of it, or nothing and why. */
  post({ entries, reverses }: Act): string {
    const before = structuredClone([this.balances, this.held, this.holds] as const)
    if (entries.length === 0) return 'empty'
    if (reverses !== undefined && this.reversed.has(`${reverses}`)) return 'already_reversed'
    for (const entry of entries) {
      const refusal = this.apply(entry)
      if (refusal === undefined) continue
      ;[this.balances, this.held, this.holds] = before
      return refusal
    }
    if (reverses !== undefined) this.reversed.add(`${reverses}`)
    return 'posted'
  }
  apply(entry: Entry): string | undefined {
    if (entry.type === 'transfer') return this.move(entry.debit.id, entry.credit.id, entry.amount)
    const { id } = entry.account
    if (entry.type === 'hold') {
      if (entry.amount <= 0n) return 'amount_invalid'
      if (this.lacks(id, entry.amount)) return 'insufficient_funds'
      if (this.holds.has(entry.hold)) return 'hold_exists'
      this.add(this.held, id, entry.amount)
      const made: ModelHold = { account: id, amount: entry.amount, state: 'open', due: false }
      this.holds.set(entry.hold, made)
      return undefined
    }
    const hold = this.holds.get(entry.hold)
    if (hold === undefined || hold.account !== id) return 'hold_unknown'
    if (hold.state !== 'open') return `hold_${hold.state}`
    if (entry.type === 'post' && hold.due) return 'hold_expired'
    if (entry.type === 'post' && entry.amount > hold.amount) return 'exceeds_hold'
    if (entry.type === 'expire' && !hold.due) return 'hold_not_due'
    if (entry.type === 'post' && entry.amount <= 0n) return 'amount_invalid'
    if (entry.type === 'post' && entry.credit.id === id) return 'same_account'
    this.add(this.held, id, -hold.amount)
    hold.state = ({ post: 'posted', void: 'voided', expire: 'expired' } as const)[entry.type]
    if (entry.type !== 'post') return undefined
    this.add(this.balances, id, -entry.amount)
    this.add(this.balances, entry.credit.id, entry.amount)
    return undefined
  }
  move(debit: number, credit: number, amount: bigint): string | undefined {
    if (amount <= 0n) return 'amount_invalid'
    if (debit === credit) return 'same_account'
    if (this.lacks(debit, amount)) return 'insufficient_funds'
    this.add(this.balances, debit, -amount)
    this.add(this.balances, credit, amount)
    return undefined
  }
  lacks(id: number, amount: bigint): boolean {
    const floor = this.floors.get(id)
    if (floor === undefined) return false
    return (this.balances.get(id) ?? 0n) - (this.held.get(id) ?? 0n) - amount < floor
  }
}

/** A random act over what there is. */
function randomAct(
  luck: Chance,
  accounts: readonly Account[],
  holds: readonly string[],
  n: number,
) {
  const amount = () => BigInt(luck.below(25) - 1)
  const account = () => luck.pick(accounts)
  const entry = (): Entry => {
    const kind = luck.below(10)
    const hold = holds.length > 0 && luck.below(8) > 0 ? luck.pick(holds) : crypto.randomUUID()
    if (kind < 4) {
      return { type: 'transfer', debit: account(), credit: account(), amount: amount() }
    }
    if (kind < 6) {
      const id = luck.below(6) > 0 ? crypto.randomUUID() : hold
      const expiresAtMs = world.kernel.clock.now() + 3_600_000
      return { type: 'hold', hold: id, account: account(), amount: amount(), expiresAtMs }
    }
    const on = { hold, account: account() }
    if (kind < 8) return { type: 'post', ...on, credit: account(), amount: amount() }
    return { type: kind === 8 ? 'void' : 'expire', ...on }
  }
  const entries = Array.from({ length: luck.below(4) === 0 ? luck.below(5) : 1 }, entry)
  return { key: `model ${process.pid} ${n}`, kind: 'model', entries } satisfies Act
}

let acts = 0

async function oneRun(luck: Chance): Promise<void> {
  const { kernel } = world
  const accounts = [outside]
  for (let n = 0; n < 3; n++) {
    const spec = { asset: 'EUR', kind: 'wallet', owner: crypto.randomUUID() } as const
    accounts.push(await funds(kernel, spec, 0n))
  }
  const model = new Model(accounts)
  const holds: string[] = []
  const posted: bigint[] = []
  const opening: Act = {
    key: `model opening ${process.pid} ${++acts}`,
    kind: 'model',
    entries: accounts
      .slice(1)
      .map((credit) => ({ type: 'transfer', debit: outside, credit, amount: START }) as const),
  }
  const script: Act[][] = [[opening]]
  for (let n = 0; n < POSTINGS; n++) {
    const batch = Array.from({ length: 1 + luck.below(ACTS) }, () => {
      return randomAct(luck, accounts, holds, ++acts)
    })
    for (const { entries } of batch) {
      for (const entry of entries) if (entry.type === 'hold') holds.push(entry.hold)
    }
    script.push(batch)
  }
  for (const batch of script) {
    if (posted.length > 0 && luck.below(2) === 0) batch.push(await reversal(luck.pick(posted)))
    const expected = batch.map((act) => model.post(act))
    const { outcomes } = await kernel.db.transaction(({ sql }) => postActs(sql, batch))
    expect(outcomes.map((o) => (o.posted ? 'posted' : o.refusal))).toEqual(expected as never)
    for (const [n, o] of outcomes.entries()) {
      const plain = batch[n]!.entries.every(({ type }) => type === 'transfer')
      if (o.posted && plain && batch[n]!.reverses === undefined) posted.push(o.act)
    }
    if (luck.below(3) === 0) await passTime(luck, model)
  }
  for (const account of accounts.slice(1)) {
    const { balance, held } = await balanceOf(kernel.db.sql, account)
    expect([balance, held]).toEqual([
      model.balances.get(account.id)!,
      model.held.get(account.id) ?? 0n,
    ])
  }
}

async function reversal(act: bigint): Promise<Act> {
  const back = await reversalOf(world.kernel, world.kernel.db.sql, act, { actor: 'model' })
  // Under a key of its own each time, so that the second is judged and not replayed.
  return { ...back, key: `model reversal ${process.pid} ${++acts}` }
}

/** An open hold becomes due. */
async function passTime(luck: Chance, model: Model): Promise<void> {
  const open = [...model.holds].filter(([, { state, due }]) => state === 'open' && !due)
  if (open.length === 0) return
  const [id, hold] = luck.pick(open)
  hold.due = true
  await owner`update ledger_holds set expires_at = now() - interval '1 s' where id = ${id}`
}

test(
  `${RUNS} runs of random acts are what the model says`,
  async () => {
    const luck = chance('ledger model')
    for (let run = 0; run < RUNS; run++) await oneRun(luck)
  },
  Math.max(120_000, RUNS * 200),
)
