import { afterAll, beforeAll, expect, test } from 'bun:test'
import { collectOwed } from '../../src/funding/index.ts'
import {
  expireHoldsJob,
  postedAct,
  PostingBatcher,
  reconcileDaily,
} from '../../src/ledger/index.ts'
import { deliverOrders } from '../../src/payouts/index.ts'
import { expectLedgerCoherent, funds, wallet } from '../support/books.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'

/** What happens to money by itself: each job says beforehand what it would do, and then does it. */

let world: TestKernel
beforeAll(async () => {
  world = await testKernel({ features: [] })
})
afterAll(async () => {
  await expectLedgerCoherent(world.database)
  await world.close()
})

test('holds are released when their time has come, not before', async () => {
  const { kernel } = world
  const account = await wallet(kernel, 100n)
  const hold = (ms: number) => {
    const id = crypto.randomUUID()
    const expiresAtMs = kernel.clock.now() + ms
    const entry = { type: 'hold', hold: id, account, amount: 1n, expiresAtMs } as const
    return kernel
      .use(PostingBatcher)
      .submit({ key: `hold ${id}`, kind: 'test.hold', entries: [entry] })
  }
  for (const ms of [200, 200, 200, 60_000]) postedAct(await hold(ms))
  expect(await expireHoldsJob.dryRun!(kernel)).toEqual({ holds_released: 0 })
  await Bun.sleep(220)
  expect(await expireHoldsJob.dryRun!(kernel)).toEqual({ holds_released: 3 })
  expect(await expireHoldsJob.run(kernel)).toEqual({ holds_released: 3 })
  expect(await expireHoldsJob.run(kernel)).toEqual({ holds_released: 0 })
})

test('the books are reconciled, and numbers say what was found', async () => {
  const { kernel } = world
  const bank = await funds(kernel, { asset: 'EUR', kind: 'external', reference: 'bank' }, 0n)
  await kernel.db.sql`
    insert into external_statements (id, account, at, balance, reference, entered_by, entered_at)
    values (${crypto.randomUUID()}, ${bank.id}, now(), 5, '1', ${crypto.randomUUID()}, now())`
  expect(await reconcileDaily.dryRun!(kernel)).toEqual({ accounts_compared: 1 })
  const runs = async () => (await kernel.db.sql`select from reconciliations`).length
  const before = await runs()
  expect(await reconcileDaily.run(kernel)).toEqual({
    findings: 0,
    accounts_compared: 1,
    accounts_differing: 1,
    accounts_overdue: 0,
  })
  expect(await runs()).toBe(before + 1)
})

test('where there is nothing to do, nothing is done', async () => {
  const { kernel } = world
  expect(await deliverOrders.dryRun!(kernel)).toEqual({ orders_delivered: 0 })
  expect(await deliverOrders.run(kernel)).toEqual({ orders_delivered: 0, orders_failed: 0 })
  const nothing = { payments_looked_at: 0, bodies_removed: 0 }
  expect(await collectOwed.dryRun!(kernel)).toEqual(nothing)
  expect(await collectOwed.run(kernel)).toMatchObject(nothing)
})

test('bodies of events are removed once they are older than any dispute', async () => {
  const { kernel } = world
  const receive = (id: string, days: number) => kernel.db.sql`
    insert into payment_events (provider, event_id, type, outcome, body, received_at)
    values ('stripe', ${id}, 'x', 'ignored', 'secret', now() - ${days} * interval '1 day')`
  await Promise.all([receive('old', 401), receive('older', 900), receive('young', 399)])
  expect(await collectOwed.dryRun!(kernel)).toMatchObject({ bodies_removed: 2 })
  expect(await collectOwed.run(kernel)).toMatchObject({ bodies_removed: 2 })
  const left = await kernel.db.sql`select event_id from payment_events where body is not null`
  expect(left.map((row: { event_id: string }) => row.event_id)).toEqual(['young'])
})

test('a job that is told to stop does', async () => {
  const { kernel } = world
  const stop = AbortSignal.abort(new Error('told to stop'))
  for (const job of [expireHoldsJob, reconcileDaily, collectOwed]) {
    await expect((async () => job.run(kernel, stop))()).rejects.toThrow('told to stop')
  }
})
