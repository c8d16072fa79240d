import { SQL } from 'bun'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { features } from '../../src/features.ts'
import { TROUBLES } from '../../src/funding/store.ts'
import { createRegistry } from '../../src/kernel/feature.ts'
import type { Entry } from '../../src/ledger/act.ts'
import {
  type Account,
  Accounts,
  balanceOf,
  expireHolds,
  PostingBatcher,
  reversalOf,
} from '../../src/ledger/index.ts'
import { SPENDING_FREE } from '../../src/ledger/spending.ts'
import { formatAmount, parseAmount } from '../../src/money/money.ts'
import { checkStep, STATES } from '../../src/payouts/states.ts'
import { expectLedgerCoherent } from '../support/books.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { documentText, examplesOf, flawsOf } from './examples.ts'

const text = documentText('ledger.md')

/** Cells of the table below a heading, without marks. */
function rows(heading: string): string[][] {
  const section = text.split(new RegExp(`\\n#+ ${heading}\\n`))[1]?.split(/\n#+ /)[0] ?? ''
  const lines = section.split('\n').filter((line) => line.startsWith('| '))
  return lines.slice(1).map((line) => {
    return line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', ''))
  })
}

let world: TestKernel
beforeAll(async () => {
  world = await testKernel({ features: [] })
})
afterAll(async () => {
  await expectLedgerCoherent(world.database)
  await world.close()
})

/** One example: its accounts and holds by name, its acts by number. */
class Example {
  readonly accounts = new Map<string, Account>()
  readonly holds = new Map<string, { id: string; account: Account }>()
  readonly acts: bigint[] = []
  lines = 0

  constructor(readonly number: number) {}

  async account(name: string): Promise<Account> {
    let found = this.accounts.get(name)
    if (found === undefined) {
      const kind = name === 'external' ? 'external' : 'wallet'
      const spec = { asset: 'EUR', kind, reference: `${this.number} ${name}` } as const
      found = await world.kernel.use(Accounts).open(spec)
      this.accounts.set(name, found)
    }
    return found
  }

  async entry(words: string): Promise<Entry> {
    const [verb, name = '', preposition, other = '', amount = ''] = words.split(' ')
    const minor = (of: string) => (/^0\.0+$/.test(of) ? 0n : parseAmount(of, euro))
    const euro = await world.kernel.use(Accounts).asset('EUR')
    switch (`${verb} ${preposition ?? ''}`.trim()) {
      case 'from to': {
        const [debit, credit] = [await this.account(name), await this.account(other)]
        return { type: 'transfer', debit, credit, amount: minor(amount) }
      }
      case 'hold on': {
        const account = await this.account(other)
        const id = crypto.randomUUID()
        this.holds.set(name, { id, account })
        const expiresAtMs = world.kernel.clock.now() + 60_000
        return { type: 'hold', hold: id, account, amount: minor(amount), expiresAtMs }
      }
      case 'post to': {
        const { id, account } = this.hold(name)
        const credit = await this.account(other)
        return { type: 'post', hold: id, account, credit, amount: minor(amount) }
      }
      case 'void':
      case 'expire': {
        const { id, account } = this.hold(name)
        return { type: verb as 'void', hold: id, account }
      }
      default:
        throw new Error(`not an act: ${words}`)
    }
  }

  private hold(name: string) {
    const found = this.holds.get(name)
    if (found === undefined) throw new Error(`no hold ${name}`)
    return found
  }

  /** Does what a line says; `posted`, or why not. */
  async run(act: string): Promise<string> {
    const { kernel } = world
    if (act === 'time passes') {
      const owner = new SQL({ url: world.database.ownerUrl, max: 1 })
      await owner`update ledger_holds set expires_at = now() where state = 'open'`
      await owner.close()
      await expireHolds(kernel)
      return 'posted'
    }
    const key = `example ${this.number} line ${++this.lines}`
    const number = /^reverse (\d+)$/.exec(act)?.[1]
    const entries: Entry[] = []
    if (number === undefined) for (const e of act.split('; ')) entries.push(await this.entry(e))
    const one =
      number === undefined
        ? { kind: 'docs', entries }
        : await reversalOf(kernel, kernel.db.sql, this.acts[Number(number) - 1]!, { actor: 'docs' })
    const outcome = await kernel.use(PostingBatcher).submit({ ...one, key })
    if (!outcome.posted) return `refused: ${outcome.refusal}`
    this.acts.push(outcome.act)
    return 'posted'
  }

  /** `ada 70.00 held 80.00`, as the account has it; `held` only where the example says it. */
  async shown(expected: string): Promise<string> {
    const [name = '', , held] = expected.split(' ')
    const account = await this.account(name)
    const now = await balanceOf(world.kernel.db.sql, account)
    const balance = `${name} ${formatAmount(now.balance, account.asset)}`
    return held === undefined ? balance : `${balance} held ${formatAmount(now.held, account.asset)}`
  }
}

describe('the worked examples', () => {
  const blocks = [...text.matchAll(/^```ledger\n([^]*?)\n```$/gm)].map(([, block = '']) => block)
  test.each(blocks.map((block, n) => [n + 1, block] as const))('number %d', async (n, block) => {
    const example = new Example(n)
    for (const line of block.split('\n')) {
      const [act = '', expected = ''] = line.split(/ {2,}/)
      const outcome = await example.run(act)
      if (expected.startsWith('refused')) {
        expect([act, outcome]).toEqual([act, expected])
        continue
      }
      expect([act, outcome]).toEqual([act, 'posted'])
      const parts = expected.split(', ')
      expect(await Promise.all(parts.map((part) => example.shown(part)))).toEqual(parts)
    }
  })

  test('are five, and cover every kind of entry', () => {
    expect(blocks).toHaveLength(5)
    for (const word of ['from', 'hold', 'post', 'void', 'expire', 'reverse']) {
      expect(blocks.join('\n')).toContain(`\n${word} `)
    }
  })
})

describe('the tables', () => {
  test('of assets are those of the database', async () => {
    const assets = [...(await world.kernel.use(Accounts).assets()).values()]
    const sorted = assets.toSorted((a, b) => (a.code < b.code ? -1 : 1))
    expect(rows('Model')).toEqual(
      sorted.map(({ code, scale, transferable }) => [
        code,
        `${scale}`,
        transferable ? 'yes' : 'no',
      ]),
    )
  })

  test('of what is free without a second factor', async () => {
    const assets = await world.kernel.use(Accounts).assets()
    expect(rows('Without a second factor')).toEqual(
      Object.entries(SPENDING_FREE).map(([code, { minor }]) => [
        code,
        formatAmount(minor, assets.get(code)!),
      ]),
    )
  })

  test('of operations, troubles, payout states and four eyes', () => {
    const { operations } = createRegistry(features)
    const wallet = [...operations.values()].filter(({ name }) => name.startsWith('wallet.'))
    expect(rows('Wallets')).toEqual(
      wallet.map(({ name, routes: [route] }) => [name, `${route!.method} ${route!.path}`]),
    )
    expect(rows('Payment provider').slice(-Object.keys(TROUBLES).length)).toEqual(
      Object.entries(TROUBLES) as never,
    )
    const next = (from: (typeof STATES)[number]) =>
      STATES.filter((to) => {
        try {
          checkStep(from, to)
          return true
        } catch {
          return false
        }
      })
    expect(rows('Money goes out').map(([state, , to]) => [state, to])).toEqual(
      STATES.map((state) => [state, next(state).join(', ') || '–']),
    )
    for (const [, asks = '', agrees = ''] of rows('Four eyes')) {
      expect(operations.has(asks.split(' ')[0]!)).toBe(true)
      expect(operations.has(agrees)).toBe(true)
    }
  })
})

test('the frames and answers are what the server says and takes', () => {
  const examples = examplesOf(text)
  expect(flawsOf(examples)).toEqual([])
  expect(examples.length).toBeGreaterThanOrEqual(7)
})
