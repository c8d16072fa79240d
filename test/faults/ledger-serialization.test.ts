import { SQL } from 'bun'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Accounts, balanceOf, postActs, postedAct, PostingBatcher } from '../../src/ledger/index.ts'
import { expectLedgerCoherent, wallet } from '../support/books.ts'
import { budget } from '../support/budget.ts'
import { contend } from '../support/contention.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'

/** Every sixth posting fails as a serialisation failure or a deadlock would. Nobody notices. */

const INJECTED = budget(100, 1_000)

let world: TestKernel
let owner: SQL
beforeAll(async () => {
  world = await testKernel({ features: [] })
  owner = new SQL({ url: world.database.ownerUrl, max: 1 })
})
afterAll(async () => {
  await owner.close()
  await expectLedgerCoherent(world.database)
  await world.close()
})

test('serialisation failures never reach a caller, and every act counts once', async () => {
  const { kernel } = world
  const [ada, bob] = [await wallet(kernel, 1_000_000n), await wallet(kernel, 0n)]
  // After the opening, which has its own transactions; before the update of both sides.
  const { injected } = await contend(owner, ['ledger_transfers'])
  let acts = 0
  const client = async (way: number) => {
    while ((await injected()) < INJECTED) {
      const entries = [{ type: 'transfer', debit: ada, credit: bob, amount: 1n }] as const
      const act = { key: `contended ${++acts}`, kind: 'test', entries }
      const post = () =>
        way % 2 === 0
          ? kernel.use(PostingBatcher).submit(act)
          : kernel.db
              .transaction(({ sql }) => postActs(sql, [act]))
              .then(({ outcomes }) => outcomes[0]!)
      // The second time is a client that has not heard the first answer.
      expect(postedAct(await post())).toBe(postedAct(await post()))
    }
  }
  await Promise.all(Array.from({ length: 8 }, (_, way) => client(way)))
  expect((await balanceOf(kernel.db.sql, bob)).balance).toBe(BigInt(acts))
})

test('control: who does not run the transaction again has them all', async () => {
  const { kernel } = world
  const outside = await kernel
    .use(Accounts)
    .open({ asset: 'EUR', kind: 'external', reference: 'control' })
  const ada = await kernel.use(Accounts).open({ asset: 'EUR', kind: 'fee', reference: 'control' })
  let failed = 0
  for (let n = 0; n < 24; n++) {
    const entries = [{ type: 'transfer', debit: outside, credit: ada, amount: 1n }] as const
    const act = { key: `control ${n}`, kind: 'test', entries }
    await postActs(kernel.db.sql, [act]).catch(() => failed++)
  }
  expect(failed).toBe(4)
})
