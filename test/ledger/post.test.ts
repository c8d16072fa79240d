import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { openDatabase } from '../../db/client.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { Act, Entry } from '../../src/ledger/act.ts'
import {
  type Account,
  Accounts,
  balanceAt,
  balanceOf,
  closeAccount,
  expireHolds,
  postActs,
  postedAct,
  PostingBatcher,
  reversalOf,
  statementOf,
} from '../../src/ledger/index.ts'
import { expectLedgerCoherent, funds, wallet } from '../support/books.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { until } from '../support/wait.ts'

let world: TestKernel
beforeAll(async () => {
  world = await testKernel({ features: [] })
})
afterEach(() => expectLedgerCoherent(world.database))
afterAll(() => world.close())

let acts = 0
const act = (entries: readonly Entry[], more: Partial<Act> = {}): Act => ({
  key: `act ${++acts}`,
  kind: 'test',
  entries,
  ...more,
})
const transfer = (debit: Account, credit: Account, amount: bigint) =>
  ({ type: 'transfer', debit, credit, amount }) as const
const submit = (one: Act) => world.kernel.use(PostingBatcher).submit(one)
const balance = async (account: Account) => {
  const { balance: all, held } = await balanceOf(world.kernel.db.sql, account)
  return [all, held]
}
const refused = async (one: Act) => {
  const outcome = await submit(one)
  return outcome.posted ? 'posted' : `${outcome.refusal} at ${outcome.entry}`
}
const inMs = (ms: number) => world.kernel.clock.now() + ms

describe('transfers', () => {
  test('move money, once', async () => {
    const [ada, bob] = [await wallet(world.kernel, 100n), await wallet(world.kernel, 0n)]
    const one = act([transfer(ada, bob, 30n)])
    const first = await submit(one)
    const again = await submit(one)
    expect(first).toMatchObject({ posted: true, replayed: false })
    expect(again).toEqual({ ...first, replayed: true } as never)
    expect(await balance(ada)).toEqual([70n, 0n])
    expect(await balance(bob)).toEqual([30n, 0n])
  })

  test('the same key fifty times at once counts once', async () => {
    const [ada, bob] = [await wallet(world.kernel, 100n), await wallet(world.kernel, 0n)]
    const one = act([transfer(ada, bob, 30n)])
    const outcomes = await Promise.all([
      ...Array.from({ length: 25 }, () => submit(one)),
      // Past the posting batcher, each in its own transaction.
      ...Array.from({ length: 25 }, async () => {
        const done = await world.kernel.db.transaction(({ sql }) => postActs(sql, [one]))
        return done.outcomes[0]!
      }),
    ])
    expect(outcomes.filter((o) => o.posted && !o.replayed)).toHaveLength(1)
    expect(new Set(outcomes.map(postedAct)).size).toBe(1)
    expect(await balance(bob)).toEqual([30n, 0n])
  })

  test('the same key with other contents is refused, whatever accounts they are over', async () => {
    const people = await Promise.all([1, 2, 3, 4].map(() => wallet(world.kernel, 100n)))
    const [ada, bob, eve, joe] = people as [Account, Account, Account, Account]
    const one = act([transfer(ada, bob, 30n)])
    await submit(one)
    expect(await refused({ ...one, entries: [transfer(ada, bob, 31n)] })).toStartWith('key_reused')
    expect(await refused({ ...one, entries: [transfer(eve, joe, 30n)] })).toStartWith('key_reused')
    const racing = [act([transfer(ada, bob, 1n)]), act([transfer(ada, bob, 1n)])].flatMap((a) => [
      a,
      { ...a, entries: [transfer(eve, joe, 1n)] },
    ])
    const post = ({ ...a }: Act) =>
      world.kernel.db.transaction(async ({ sql }) => (await postActs(sql, [a])).outcomes[0]!)
    const outcomes = await Promise.all(racing.map(post))
    expect(outcomes.filter((o) => o.posted)).toHaveLength(2)
  })

  test.each([
    ['0', 0n, 'amount_invalid at 0'],
    ['-1', -1n, 'amount_invalid at 0'],
    ['80 digits', 10n ** 79n, 'amount_invalid at 0'],
    ['more than there is', 101n, 'insufficient_funds at 0'],
    ['all there is', 100n, 'posted'],
  ])('of %s', async (_name, amount, expected) => {
    const [ada, bob] = [await wallet(world.kernel, 100n), await wallet(world.kernel, 0n)]
    expect(await refused(act([transfer(ada, bob, amount)]))).toBe(expected)
  })

  test('stay within one asset, between two open accounts', async () => {
    const { kernel } = world
    const [ada, bob] = [await wallet(kernel, 100n), await wallet(kernel, 0n)]
    const sats = await wallet(kernel, 5n, 'MSAT')
    expect(await refused(act([transfer(ada, sats, 1n)]))).toBe('asset_mismatch at 0')
    expect(await refused(act([transfer(ada, ada, 1n)]))).toBe('same_account at 0')
    expect(await refused(act([]))).toStartWith('empty')
    await expect(closeAccount(kernel.db.sql, ada)).rejects.toMatchObject({ code: 'conflict' })
    await closeAccount(kernel.db.sql, bob)
    expect(await refused(act([transfer(ada, bob, 1n)]))).toBe('account_closed at 0')
    expect(await refused(act([transfer(bob, ada, 1n)]))).toBe('account_closed at 0')
  })

  test('of one act count together or not at all', async () => {
    const { kernel } = world
    const [ada, bob, eve] = [
      await wallet(kernel, 100n),
      await wallet(kernel, 0n),
      await wallet(kernel, 0n),
    ]
    const chain = [transfer(ada, bob, 100n), transfer(bob, eve, 40n), transfer(bob, ada, 61n)]
    expect(await refused(act(chain))).toBe('insufficient_funds at 2')
    expect(await balance(ada)).toEqual([100n, 0n])
    await submit(act(chain.slice(0, 2)))
    expect(await balance(bob)).toEqual([60n, 0n])
  })

  test('a refused act among others fails alone, wherever it stands', async () => {
    const { kernel } = world
    const [ada, bob] = [await wallet(kernel, 10n), await wallet(kernel, 0n)]
    const outcomes = await kernel.db.transaction(async ({ sql }) => {
      const many = [
        act([transfer(ada, bob, 4n)]),
        act([transfer(ada, bob, 7n), transfer(bob, ada, 1n)]),
        act([transfer(ada, bob, 5n), transfer(ada, bob, 5n)]),
        act([transfer(ada, bob, 6n)]),
        act([transfer(ada, bob, 1n)]),
      ]
      return (await postActs(sql, many)).outcomes
    })
    expect(outcomes.map((o) => o.posted)).toEqual([true, false, false, true, false])
    expect(await balance(bob)).toEqual([10n, 0n])
  })

  test('amounts beyond 64 bits', async () => {
    const { kernel } = world
    const rich = await wallet(kernel, 10n ** 30n, 'TK')
    const fan = await wallet(kernel, 0n, 'TK')
    await submit(act([transfer(rich, fan, 10n ** 30n - 1n)]))
    expect(await balance(fan)).toEqual([10n ** 30n - 1n, 0n])
  })
})

describe('holds', () => {
  const hold = (account: Account, amount: bigint, ms = 60_000, id = crypto.randomUUID()) =>
    ({ type: 'hold', hold: id, account, amount, expiresAtMs: inMs(ms) }) as const

  test('set aside, then post in part: the rest is free again', async () => {
    const [ada, shop] = [await wallet(world.kernel, 100n), await wallet(world.kernel, 0n)]
    const held = hold(ada, 80n)
    await submit(act([held]))
    expect(await balance(ada)).toEqual([100n, 80n])
    expect(await refused(act([transfer(ada, shop, 21n)]))).toBe('insufficient_funds at 0')
    expect(await refused(act([hold(ada, 21n)]))).toBe('insufficient_funds at 0')
    const post = (amount: bigint) =>
      act([{ type: 'post', hold: held.hold, account: ada, credit: shop, amount }])
    expect(await refused(post(81n))).toBe('exceeds_hold at 0')
    await submit(post(50n))
    expect(await balance(ada)).toEqual([50n, 0n])
    expect(await refused(post(1n))).toBe('hold_posted at 0')
  })

  test('void releases, once; ids are not reused; other accounts have no say', async () => {
    const [ada, bob] = [await wallet(world.kernel, 100n), await wallet(world.kernel, 100n)]
    const held = hold(ada, 80n)
    await submit(act([held]))
    expect(await refused(act([{ ...held, account: bob }]))).toBe('hold_exists at 0')
    const release = (type: 'void' | 'expire', account: Account) =>
      act([{ type, hold: held.hold, account }])
    expect(await refused(release('void', bob))).toBe('hold_unknown at 0')
    expect(await refused(release('expire', ada))).toBe('hold_not_due at 0')
    await submit(release('void', ada))
    expect(await refused(release('void', ada))).toBe('hold_voided at 0')
    expect(await balance(ada)).toEqual([100n, 0n])
  })

  test('an act that fails later gives its hold back, and one it has posted', async () => {
    const [ada, shop] = [await wallet(world.kernel, 100n), await wallet(world.kernel, 0n)]
    const first = hold(ada, 60n)
    await submit(act([first]))
    const failing = act([
      hold(ada, 40n),
      { type: 'post', hold: first.hold, account: ada, credit: shop, amount: 10n },
      transfer(ada, shop, 51n),
    ])
    expect(await refused(failing)).toBe('insufficient_funds at 2')
    expect(await balance(ada)).toEqual([100n, 60n])
    await submit(act([{ type: 'void', hold: first.hold, account: ada }]))
  })

  test('expire by themselves, once, and cannot be posted any more', async () => {
    const [ada, shop] = [await wallet(world.kernel, 100n), await wallet(world.kernel, 0n)]
    const held = hold(ada, 80n, 50)
    await submit(act([held]))
    await Bun.sleep(100)
    const late = act([{ type: 'post', hold: held.hold, account: ada, credit: shop, amount: 1n }])
    expect(await refused(late)).toBe('hold_expired at 0')
    const released = await Promise.all([expireHolds(world.kernel), expireHolds(world.kernel)])
    expect(released[0]! + released[1]!).toBe(1)
    expect(await balance(ada)).toEqual([100n, 0n])
    expect(await refused(act([hold(ada, 1n, -1)]))).toBe('hold_expired at 0')
  })
})

describe('reversals', () => {
  const reverse = (id: bigint) =>
    reversalOf(world.kernel, world.kernel.db.sql, id, { actor: 'server' })

  test('are new transfers, and happen once', async () => {
    const [ada, bob] = [await wallet(world.kernel, 100n), await wallet(world.kernel, 5n)]
    const id = postedAct(await submit(act([transfer(ada, bob, 30n), transfer(bob, ada, 3n)])))
    const back = await reverse(id)
    const outcomes = await Promise.all([
      submit(back),
      submit({ ...back, key: 'another reversal' }),
      world.kernel.db.transaction(async ({ sql }) => {
        return (await postActs(sql, [{ ...back, key: 'a third' }])).outcomes[0]!
      }),
    ])
    expect(outcomes.filter((o) => o.posted)).toHaveLength(1)
    expect(await balance(ada)).toEqual([100n, 0n])
    expect(await balance(bob)).toEqual([5n, 0n])
    const reversal = postedAct(outcomes.find((o) => o.posted)!)
    await expect(reverse(reversal)).rejects.toMatchObject({ code: 'conflict' })
    await expect(reverse(10n ** 15n)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('of money that is spent are refused', async () => {
    const [ada, bob] = [await wallet(world.kernel, 100n), await wallet(world.kernel, 0n)]
    const id = postedAct(await submit(act([transfer(ada, bob, 30n)])))
    await submit(act([transfer(bob, ada, 30n)]))
    expect(await refused(await reverse(id))).toBe('insufficient_funds at 0')
  })
})

test('balances as of any instant, and statements that add up', async () => {
  const { kernel } = world
  const [ada, bob] = [await wallet(kernel, 1_000n), await wallet(kernel, 0n)]
  const at: string[] = []
  for (let n = 1; n <= 7; n++) {
    await submit(act([transfer(ada, bob, 10n), transfer(bob, ada, 1n)], { label: `n ${n}` }))
    const page = await statementOf(kernel.db.sql, ada, { limit: 1 })
    at.push(page.lines[0]!.at)
  }
  for (const [n, instant] of at.entries()) {
    expect(await balanceAt(kernel.db.sql, ada, instant)).toBe(1_000n - 9n * BigInt(n + 1))
  }
  expect(await balanceAt(kernel.db.sql, ada, '2020-01-01T00:00:00Z')).toBe(0n)
  const lines = []
  let cursor: string | undefined
  do {
    const page = await statementOf(kernel.db.sql, ada, { limit: 4, cursor })
    lines.push(...page.lines)
    cursor = page.nextCursor ?? undefined
  } while (cursor !== undefined)
  expect(lines).toHaveLength(15)
  let running = 0n
  for (const line of lines.toReversed()) {
    running += line.amount
    expect(line.balance).toBe(running)
  }
  expect(running).toBe(937n)
})

test('accounts: one for each owner, kind, asset and reference, whoever asks at once', async () => {
  const accounts = world.kernel.use(Accounts)
  const spec = { asset: 'EUR', kind: 'escrow', reference: 'a deal' } as const
  const opened = await Promise.all(Array.from({ length: 20 }, () => accounts.open(spec)))
  expect(new Set(opened.map(({ id }) => id)).size).toBe(1)
  expect(await accounts.find(opened[0]!.id)).toEqual(opened[0]!)
  expect(await accounts.find(10 ** 12)).toBeUndefined()
  await expect(accounts.open({ ...spec, asset: 'XXX' })).rejects.toMatchObject({
    code: 'validation_failed',
  })
})

test('a stalled account holds up only those who want it', async () => {
  const { kernel } = world
  const [ada, bob, eve] = [
    await wallet(kernel, 100n),
    await wallet(kernel, 100n),
    await wallet(kernel, 0n),
  ]
  const other = await funds(kernel, { asset: 'EUR', kind: 'fee' }, 0n)
  const done: string[] = []
  await kernel.db.transaction(async ({ sql }) => {
    await postActs(sql, [act([transfer(ada, eve, 1n)])])
    const stuck = submit(act([transfer(ada, bob, 1n)])).then(() => done.push('stuck'))
    const free = Promise.all(
      Array.from({ length: 20 }, () => submit(act([transfer(bob, other, 1n)]))),
    ).then(() => done.push('free'))
    await free
    expect(done).toEqual(['free'])
    void stuck
  })
  while (done.length < 2) await Bun.sleep(5)
  expect(done).toEqual(['free', 'stuck'])
})

describe('an account not remembered, in as many transactions as there are connections', () => {
  /** Two connections, two transactions: whoever wants another connection waits for the other. */
  async function ask(withOwn: boolean): Promise<string[]> {
    const account = await wallet(world.kernel, 1n)
    const spec = { asset: 'EUR', kind: 'wallet', owner: account.owner! } as const
    const db = openDatabase({ url: world.database.url, clock: systemClock, max: 2 })
    const other = await testKernel({ features: [], database: { ...world.database, db } })
    try {
      let begun = 0
      // One moment for both: whoever ended first would free a connection for the other.
      let late: Promise<'waits'> | undefined
      const one = () =>
        db.transaction(async ({ sql }) => {
          await sql`select 1`
          begun++
          await until(() => begun === 2, 'both have begun')
          const open = other.kernel.use(Accounts).open(spec, withOwn ? sql : undefined)
          late ??= Bun.sleep(500).then(() => 'waits')
          return await Promise.race([open.then(() => 'found'), late])
        })
      return await Promise.all([one(), one()])
    } finally {
      await other.close()
      await db.close()
    }
  }

  test('is read on their own connections', async () => {
    expect(await ask(true)).toEqual(['found', 'found'])
  })
  test('the control: over the pool, they wait for each other', async () => {
    expect(await ask(false)).toEqual(['waits', 'waits'])
  })
})
