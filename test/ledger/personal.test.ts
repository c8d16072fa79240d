import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Failure } from '../../src/kernel/errors.ts'
import { internalRequest, unitOfWork } from '../../src/kernel/unit-of-work.ts'
import { testClock } from '../../src/kernel/clock.ts'
import { fundingFeature } from '../../src/funding/index.ts'
import { Lane, ledgerFeature, postedAct } from '../../src/ledger/index.ts'
import { patiently } from '../../src/ledger/patience.ts'
import { payoutsFeature } from '../../src/payouts/index.ts'
import { expectLedgerCoherent, funds } from '../support/books.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'

/** What money knows of a person, and what becomes of it when they leave. */

let world: TestKernel
beforeAll(async () => {
  world = await testKernel({ features: [] })
})
afterAll(async () => {
  await expectLedgerCoherent(world.database)
  await world.close()
})

const walletOf = (owner: string, minor: bigint) =>
  funds(world.kernel, { asset: 'EUR', kind: 'wallet', owner }, minor)
const forget = (owner: string) =>
  unitOfWork(world.kernel, { actor: null, request: internalRequest('test') }, async (ctx) => {
    for (const feature of [ledgerFeature, payoutsFeature]) {
      await feature.personalData?.forget?.(ctx, owner)
    }
  })

describe('the export of one’s data', () => {
  test('has every wallet, transfer, payment and payout, and nobody else’s', async () => {
    const { kernel } = world
    const [ada, bob] = [crypto.randomUUID(), crypto.randomUUID()]
    const [from, to] = [await walletOf(ada, 700n), await walletOf(bob, 0n)]
    for (let n = 1; n <= 7; n++) {
      const entry = { type: 'transfer', debit: from, credit: to, amount: BigInt(n) } as const
      const act = { key: `export ${n}`, kind: 'test.pay', label: `n ${n}`, entries: [entry] }
      postedAct(await kernel.use(Lane).submit(act))
    }
    await kernel.db.sql`
      insert into payments (provider, payment_id, user_id, created_at, updated_at)
      values ('stripe', 'pi_1', ${ada}, now(), now()), ('stripe', 'pi_2', ${bob}, now(), now())`
    await kernel.db.sql`
      insert into payouts (id, user_id, asset, amount, iban, name, state, not_before, requested_at,
        updated_at)
      values (${crypto.randomUUID()}, ${bob}, 'EUR', 1, 'DE1', 'Bob', 'rejected', now(), now(),
        now())`
    const items: Record<string, unknown[]> = {}
    for (const { personalData } of [ledgerFeature, fundingFeature, payoutsFeature]) {
      const all = personalData?.export?.(kernel, kernel.db.sql, ada)
      if (all === undefined) throw new Error('nothing to export')
      for await (const { section, item } of all) (items[section] ??= []).push(item)
    }
    expect(Object.keys(items)).toEqual(['wallets', 'wallet_transfers', 'payments'])
    expect(items['wallets']).toEqual([
      { asset: 'EUR', balance: '6.72', held: '0.00', available: '6.72' },
    ])
    expect(items['wallet_transfers']).toHaveLength(8)
    expect(items['payments']).toMatchObject([{ payment_id: 'pi_1' }])
  })
})

describe('leaving', () => {
  test('is refused while there is money, and closes the wallets when there is none', async () => {
    const ada = crypto.randomUUID()
    const wallet = await walletOf(ada, 100n)
    await expect(forget(ada)).rejects.toMatchObject({ code: 'conflict' })
    const fee = await funds(world.kernel, { asset: 'EUR', kind: 'fee' }, 0n)
    const pay = (key: string, from: typeof fee, to: typeof fee) =>
      world.kernel.use(Lane).submit({
        key,
        kind: 'test.pay',
        entries: [{ type: 'transfer', debit: from, credit: to, amount: 100n }],
      })
    postedAct(await pay('leave', wallet, fee))
    await forget(ada)
    await forget(ada)
    expect(await pay('too late', fee, wallet)).toMatchObject({ refusal: 'account_closed' })
  })
})

describe('work that takes long', () => {
  test('runs once for all who ask; who has waited too long gets it next time', async () => {
    const clock = testClock()
    let runs = 0
    let finish: (value: string) => void = () => undefined
    const ask = patiently(clock, () => {
      runs++
      return new Promise<string>((resolve) => (finish = resolve))
    })
    const [one, two] = [ask(), ask()]
    await Bun.sleep(1)
    clock.advance(20_001)
    for (const late of [one, two]) {
      const failure = await late.catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(Failure)
      expect(failure).toMatchObject({ code: 'unavailable', retryAfterMs: 5_000 })
    }
    finish('found')
    await Bun.sleep(1)
    expect(await ask()).toBe('found')
    expect(runs).toBe(1)
    const third = ask()
    expect(runs).toBe(2)
    finish('anew')
    expect(await third).toBe('anew')
  })

  test('that fails fails for whoever waits, and may be asked for again', async () => {
    let runs = 0
    const ask = patiently(testClock(), () => Promise.reject(new Error(`run ${++runs}`)))
    await expect(ask()).rejects.toThrow('run 1')
    await expect(ask()).rejects.toThrow('run 2')
  })
})
