import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { testClock } from '../../src/base/clock.ts'
import { Failure } from '../../src/base/errors.ts'
import { fundingFeature } from '../../src/funding/index.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { ledgerFeature, postedAct, PostingBatcher } from '../../src/ledger/index.ts'
import { singleFlight } from '../../src/ledger/single-flight.ts'
import { payoutsFeature } from '../../src/payouts/index.ts'
import { expectLedgerCoherent, funds } from '../support/books.ts'
import { giveFactor } from '../support/factor.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { restWithFactor } from '../support/mfa.ts'
import { type Body, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

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
      postedAct(await kernel.use(PostingBatcher).submit(act))
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

describe('over the product', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await testServer()
  })
  afterAll(async () => {
    await expectLedgerCoherent(server.database)
    await server.stop()
  })

  const IBAN = 'DE89370400440532013000'
  const fund = (who: Person, minor: bigint) =>
    funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: who.id }, minor)
  const close = (who: Person, at: Pick<TestServer, 'url'> = server) =>
    rest(at, 'DELETE', '/api/v1/users/me', { token: who.token, body: { password: who.password } })

  test('money is in the copy of one’s data', async () => {
    const [ada, bob] = [await person(server, 'ada'), await person(server, 'bob')]
    await fund(ada, 10_000n)
    const call = (method: string, path: string, body?: object) =>
      rest(server, method, `/api/v1${path}`, { token: ada.token, body })
    const note = 'For the tickets'
    await call('POST', '/wallet/transfers', {
      to_user_id: bob.id,
      amount: '12.50',
      asset: 'EUR',
      note,
    })
    await call('POST', '/payouts', { amount: '30', iban: IBAN, name: 'Ada Lovelace' })
    await giveFactor(server.kernel, ada.id)
    const asked = await restWithFactor(server, 'POST', '/api/v1/privacy/export', {
      as: ada,
      body: {},
    })
    expect(asked.status).toBe(201)
    let items: { section: string; item: Body }[] = []
    await until(async () => {
      const { status, body } = await call('GET', `/privacy/exports/${asked.body['id']}/pages`)
      if (status === 200) items = body['items']
      return status === 200
    }, 'the copy is ready')
    const of = (section: string) =>
      items.filter((one) => one.section === section).map(({ item }) => item)
    expect(of('wallets')).toEqual([
      { asset: 'EUR', balance: '87.50', held: '30.00', available: '57.50' },
    ])
    expect(of('wallet_transfers')).toMatchObject([{ amount: '-12.50', label: note }, {}])
    expect(of('payouts')).toMatchObject([{ iban: IBAN, name: 'Ada Lovelace', amount: '3000' }])
  })

  test('an account is not closed over money, and says how much there is', async () => {
    const [ada, bob] = [await person(server, 'ada'), await person(server, 'bob')]
    await fund(ada, 10_000n)
    const pay = (path: string, body: object) =>
      rest(server, 'POST', `/api/v1${path}`, { token: ada.token, body })
    const asked = await pay('/payouts', { amount: '30', iban: IBAN, name: 'Ada Lovelace' })
    const refused = await close(ada)
    expect([refused.status, refused.body['code']]).toEqual([409, 'conflict'])
    expect(refused.body['detail']).toBe(
      'There is money left: 100.00 EUR (30.00 of it set aside). Have it paid out or spend it first',
    )
    // Nothing is half done: she still has her account and her money.
    const path = `/api/v1/payouts/${asked.body['id']}`
    expect((await rest(server, 'DELETE', path, { token: ada.token })).status).toBe(200)
    await pay('/wallet/transfers', { to_user_id: bob.id, amount: '100', asset: 'EUR' })
    const { status, body } = await close(ada)
    expect(status).toBe(200)
    expect(body['kept'].join(' ')).toContain('transfers')
    const rows = await server.kernel.db.sql`
      select (select closed_at is not null from ledger_accounts where owner = ${ada.id}) as closed,
        (select count(*) from payout_destinations where user_id = ${ada.id})::int as destinations`
    expect(rows[0]).toEqual({ closed: true, destinations: 0 })
  })

  test('nor while a payout is under way, whatever has become of its hold', async () => {
    const ada = await person(server, 'ada')
    const { sql } = server.kernel.db
    await sql`
      insert into payouts (id, user_id, asset, amount, iban, name, state, not_before, requested_at,
        updated_at)
      values (${crypto.randomUUID()}, ${ada.id}, 'EUR', 1, ${IBAN}, 'Ada', 'requested', now(),
        now(), now())`
    const { status, body } = await close(ada)
    expect([status, body['detail']]).toEqual([
      409,
      'A payout is under way: wait for it, or take it back first',
    ])
    await sql`update payouts set state = 'rejected' where user_id = ${ada.id}`
    expect((await close(ada)).status).toBe(200)
  })

  test('nor where the ledger is turned off: what is owed stays owed', async () => {
    const ada = await person(server, 'ada')
    await fund(ada, 500n)
    const off = await testServer({ database: server.database, env: { FEATURES: 'messaging' } })
    try {
      const { token } = ada
      expect((await rest(off, 'GET', '/api/v1/wallet/balances', { token })).status).toBe(404)
      const { status, body } = await close(ada, off)
      expect([status, body['detail']]).toEqual([
        409,
        'There is money left: 5.00 EUR. Have it paid out or spend it first',
      ])
    } finally {
      await off.stop()
    }
  })
})

describe('leaving', () => {
  test('is refused while there is money, and closes the wallets when there is none', async () => {
    const ada = crypto.randomUUID()
    const wallet = await walletOf(ada, 100n)
    await expect(forget(ada)).rejects.toMatchObject({ code: 'conflict' })
    const fee = await funds(world.kernel, { asset: 'EUR', kind: 'fee' }, 0n)
    const pay = (key: string, from: typeof fee, to: typeof fee) =>
      world.kernel.use(PostingBatcher).submit({
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
    const ask = singleFlight(clock, () => {
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
    const ask = singleFlight(testClock(), () => Promise.reject(new Error(`run ${++runs}`)))
    await expect(ask()).rejects.toThrow('run 1')
    await expect(ask()).rejects.toThrow('run 2')
  })
})
