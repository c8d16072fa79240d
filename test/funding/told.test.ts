import { SQL } from 'bun'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { sqlState } from '../../db/transaction.ts'
import { deliver, disputed, succeeded, WEBHOOK_SECRET } from '../support/payments.ts'
import { person } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

/** What a payment provider has told stays told. */

let server: TestServer
beforeAll(async () => {
  server = await testServer({ env: { PAYMENT_WEBHOOK_SECRET: WEBHOOK_SECRET } })
})
afterAll(() => server.stop())

let payments = 0
const newPayment = () => `pi_told_${++payments}`

test('what was told cannot be rewritten by the server’s role', async () => {
  const sql = new SQL({ url: server.database.url, max: 1 })
  for (const statement of [
    'delete from payment_events',
    "update payment_events set payment_id = 'pi_other'",
    'delete from payments',
    'truncate payment_disputes',
    'delete from payment_disputes',
    'update payment_disputes set amount = 1',
    "update payment_disputes set payment_id = 'pi_other'",
    "update payments set payment_id = 'pi_other'",
    "update payments set provider = 'other'",
    'update payments set created_at = now()',
  ]) {
    await expect(sql.unsafe(statement)).rejects.toMatchObject({ errno: '42501' })
  }
  await sql.close()
})

test('a payment goes one way, whoever writes: no sum and no user is replaced', async () => {
  const { sql } = server.kernel.db
  const [ada, eve] = [await person(server), await person(server)]
  const [inWallet, parked] = [newPayment(), newPayment()]
  await deliver(server, succeeded(inWallet, 1_000, ada.id))
  await deliver(server, disputed(inWallet, 400, 'needs_response'))
  await deliver(server, disputed(inWallet, 400, 'won'))
  const left = crypto.randomUUID()
  await deliver(server, succeeded(parked, 1_000, left))
  const user = (payment: string, to: string) =>
    `update payments set user_id = '${to}' where payment_id = '${payment}'`
  const forgeries = [
    `update payments set amount = 100000 where payment_id = '${parked}'`,
    `update payments set asset = 'TK' where payment_id = '${parked}'`,
    `update payments set amount = null where payment_id = '${parked}'`,
    `update payments set credited = 'none' where payment_id = '${inWallet}'`,
    `update payments set credited = 'unassigned' where payment_id = '${inWallet}'`,
    `update payments set refunded = refunded - 1 where payment_id = '${inWallet}'`,
    `update payments set returned = returned - 1 where payment_id = '${inWallet}'`,
    `update payment_events set body = 'forged' where payment_id = '${parked}'`,
    `update payment_disputes set state = 'lost' where payment_id = '${inWallet}'`,
    user(inWallet, eve.id),
    user(parked, eve.id),
  ]
  const tried = async () => {
    const outcomes = []
    for (const statement of forgeries) {
      outcomes.push(
        await sql
          .begin(async (tx) => {
            await tx.unsafe(statement)
            throw new Error('allowed')
          })
          .catch((error: Error) => sqlState(error) ?? error.message),
      )
    }
    return new Set(outcomes)
  }
  expect(await tried()).toEqual(new Set(['42501']))
  // The control: with the walls down nothing refuses them.
  const owner = new SQL({ url: server.database.ownerUrl, max: 1 })
  const walls = async (way: 'enable' | 'disable') => {
    for (const table of ['payments', 'payment_events', 'payment_disputes']) {
      await owner.unsafe(`alter table ${table} ${way} trigger user`)
    }
  }
  await walls('disable')
  expect(await tried()).toEqual(new Set(['allowed']))
  await walls('enable')
  await owner.close()
})
