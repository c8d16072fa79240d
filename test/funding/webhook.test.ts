import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { collectOwed } from '../../src/funding/index.ts'
import { postedAct, PostingBatcher } from '../../src/ledger/index.ts'
import { auditTrail } from '../support/audit.ts'
import { expectLedgerCoherent, funds } from '../support/books.ts'
import { chance } from '../support/budget.ts'
import { restWithFactor } from '../support/mfa.ts'
import {
  completed,
  deliver,
  disputed,
  eventOf,
  refunded,
  signed,
  succeeded,
  walletOf,
  WEBHOOK_SECRET,
} from '../support/payments.ts'
import { administrator, type Body, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

/** A payment provider tells of payments: often, late, in the wrong order; and others pretend to. */

let server: TestServer
beforeAll(async () => {
  server = await testServer({ env: { PAYMENT_WEBHOOK_SECRET: WEBHOOK_SECRET } })
})
afterEach(() => expectLedgerCoherent(server.database))
afterAll(() => server.stop())

let payments = 0
const newPayment = () => `pi_${process.pid}_${++payments}`
/** With the fresh second factor that it asks for. */
const admin = (as: Person, method: string, path: string, body?: object) =>
  restWithFactor(server, method, `/api/v1/admin/funding${path}`, { as, body })
const troubles = async () => {
  const { body } = await admin(await administrator(server), 'GET', '/payments?troubled=true')
  return new Map<string, string>(
    body['items'].map((item: Body) => [item['payment_id'], item['trouble']]),
  )
}
const outside = async () => {
  const [row] = await server.kernel.db.sql`
    select coalesce(sum(balance), 0)::text as balance from ledger_accounts
    where kind = 'external' and reference = 'stripe'`
  return BigInt(row.balance)
}
/** Spends from a wallet, so that it is not there any more. */
async function spend(who: Person, cents: bigint): Promise<void> {
  const wallet = await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: who.id }, 0n)
  const fee = await funds(server.kernel, { asset: 'EUR', kind: 'fee' }, 0n)
  const entries = [{ type: 'transfer', debit: wallet, credit: fee, amount: cents } as const]
  const key = `spend ${crypto.randomUUID()}`
  postedAct(await server.kernel.use(PostingBatcher).submit({ key, kind: 'test.spend', entries }))
}

describe('a payment', () => {
  test('credits its user once: ten deliveries at once of each of three events', async () => {
    const ada = await person(server, 'ada')
    const payment = newPayment()
    const events = [
      succeeded(payment, 1_250, ada.id),
      succeeded(payment, 1_250, ada.id),
      completed(payment, 1_250, ada.id),
    ]
    const before = await outside()
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, n) => deliver(server, events[n % 3]!)),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 30 }, () => 200))
    const fresh = answers.filter(({ body }) => body['outcome'] === 'new')
    expect(fresh).toHaveLength(3)
    expect(await walletOf(server, ada)).toEqual({
      balance: '12.50',
      held: '0.00',
      available: '12.50',
    })
    expect(await outside()).toBe(before - 1_250n)
    const rows = await server.kernel.db.sql`
      select deliveries, body, outcome from payment_events where payment_id = ${payment}`
    expect(rows.map((row: Body) => row['deliveries'])).toEqual([10, 10, 10])
    expect(rows.map((row: Body) => Buffer.from(row['body']).toString()).toSorted()).toEqual(
      events.toSorted(),
    )
  })

  test('the control: three events posted by their own ids would be three credits', async () => {
    const ada = await person(server)
    const wallet = await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: ada.id }, 0n)
    const debit = await funds(server.kernel, { asset: 'EUR', kind: 'external' }, 0n)
    const payment = newPayment()
    for (const event of [
      succeeded(payment, 500),
      succeeded(payment, 500),
      completed(payment, 500),
    ]) {
      const { id } = JSON.parse(event) as { id: string }
      const entries = [{ type: 'transfer', debit, credit: wallet, amount: 500n } as const]
      await server.kernel
        .use(PostingBatcher)
        .submit({ key: `event:${id}`, kind: 'test.naive', entries })
    }
    expect((await walletOf(server, ada)).balance).toBe('15.00')
  })

  test('is on the statement', async () => {
    const ada = await person(server)
    await deliver(server, succeeded(newPayment(), 999, ada.id))
    const { body } = await rest(server, 'GET', '/api/v1/wallet/statement?asset=EUR', {
      token: ada.token,
    })
    expect(body['items'][0]).toMatchObject({
      kind: 'funding.payment',
      label: 'Payment by stripe',
      amount: '9.99',
    })
  })

  test('that is not paid yet, is nothing, or is for nothing, changes nothing', async () => {
    const ada = await person(server)
    for (const event of [
      completed(newPayment(), 500, ada.id, { payment_status: 'unpaid' }),
      completed(newPayment(), 0, ada.id),
      completed(newPayment(), 500, ada.id, { payment_intent: null }),
      eventOf('customer.created', { id: 'cus_1', metadata: { user_id: ada.id } }),
      eventOf('payment_intent.created', {
        id: newPayment(),
        amount_received: 500,
        currency: 'eur',
      }),
      eventOf('__proto__', { id: newPayment() }),
    ]) {
      expect((await deliver(server, event)).status).toBe(200)
    }
    expect((await walletOf(server, ada)).balance).toBe('0.00')
  })

  test('of a session that was paid later counts when it is', async () => {
    const ada = await person(server)
    const payment = newPayment()
    await deliver(server, completed(payment, 500, ada.id, { payment_status: 'unpaid' }))
    const paid = JSON.parse(completed(payment, 500, ada.id)) as Body
    const event = eventOf('checkout.session.async_payment_succeeded', paid['data'].object)
    await deliver(server, event)
    expect((await walletOf(server, ada)).balance).toBe('5.00')
  })

  test('told with another amount keeps the first one, and somebody is asked to look', async () => {
    const ada = await person(server)
    const payment = newPayment()
    await deliver(server, succeeded(payment, 500, ada.id))
    await deliver(server, completed(payment, 50_000, ada.id))
    expect((await walletOf(server, ada)).balance).toBe('5.00')
    expect((await troubles()).get(payment)).toBe('amount_differs')
    const one = await administrator(server)
    const input = { provider: 'stripe', payment_id: payment, note: 'A tip of the shop' }
    expect((await admin(one, 'POST', '/payments/resolve', input)).body).toEqual({ trouble: null })
    expect((await troubles()).has(payment)).toBe(false)
  })

  test('that cannot be read is kept, and somebody is asked to look', async () => {
    const ada = await person(server)
    const payment = newPayment()
    const event = completed(payment, 500, ada.id, { amount_total: '500' })
    expect((await deliver(server, event)).status).toBe(200)
    expect((await troubles()).get(payment)).toBe('unreadable')
    const dollars = newPayment()
    await deliver(server, succeeded(dollars, 500, ada.id, { currency: 'usd' }))
    expect((await troubles()).get(dollars)).toBe('unreadable')
    expect((await walletOf(server, ada)).balance).toBe('0.00')
  })
})

describe('a payment for nobody known', () => {
  test('waits in the books, and goes to whoever a later event names', async () => {
    const ada = await person(server)
    const payment = newPayment()
    const before = await outside()
    await deliver(server, succeeded(payment, 700))
    expect((await troubles()).get(payment)).toBe('user_unknown')
    expect(await outside()).toBe(before - 700n)
    await deliver(server, completed(payment, 700, ada.id))
    expect((await walletOf(server, ada)).balance).toBe('7.00')
    expect((await troubles()).has(payment)).toBe(false)
    expect(await outside()).toBe(before - 700n)
  })

  test.each([
    ['an id of nobody', () => crypto.randomUUID()],
    ['a name', () => 'ada'],
    ['a number', () => 7 as unknown as string],
  ])('as %s waits too', async (_what, named) => {
    const payment = newPayment()
    await deliver(server, succeeded(payment, 700, named()))
    expect((await troubles()).get(payment)).toBe('user_unknown')
  })

  test('is assigned by two administrators, never to one of them by themself', async () => {
    const [one, two, ada] = [
      await administrator(server),
      await administrator(server),
      await person(server),
    ]
    const payment = newPayment()
    await deliver(server, succeeded(payment, 700))
    const ask = (who: Person, to: string) =>
      admin(who, 'POST', '/assignments', {
        provider: 'stripe',
        payment_id: payment,
        to_user_id: to,
        reason: 'They wrote to us',
      })
    expect((await ask(one, one.id)).body['code']).toBe('forbidden')
    expect((await ask(one, crypto.randomUUID())).body['code']).toBe('not_found')
    const asked = await ask(one, two.id)
    const refuse = await admin(two, 'POST', `/assignments/${asked.body['id']}/approve`, {})
    expect(refuse.body['code']).toBe('forbidden')
    await admin(one, 'POST', `/assignments/${asked.body['id']}/reject`, {})
    const right = await ask(one, ada.id)
    expect((await admin(one, 'POST', `/assignments/${right.body['id']}/approve`, {})).status).toBe(
      403,
    )
    const done = await admin(two, 'POST', `/assignments/${right.body['id']}/approve`, {})
    expect(done.body['state']).toBe('approved')
    expect((await walletOf(server, ada)).balance).toBe('7.00')
    expect((await ask(two, ada.id)).status).toBe(409)
  })
})

describe('a refund', () => {
  test('is taken back once, as much as it says in all', async () => {
    const ada = await person(server)
    const payment = newPayment()
    await deliver(server, succeeded(payment, 1_000, ada.id))
    const [first, second] = [refunded(payment, 300), refunded(payment, 800)]
    // The later one first, and each ten times.
    await Promise.all(Array.from({ length: 20 }, (_, n) => deliver(server, n % 2 ? first : second)))
    expect((await walletOf(server, ada)).balance).toBe('2.00')
    await deliver(server, refunded(payment, 5_000))
    expect((await walletOf(server, ada)).balance).toBe('0.00')
    expect((await troubles()).has(payment)).toBe(false)
  })

  test('that comes before its payment counts when that comes', async () => {
    const ada = await person(server)
    const payment = newPayment()
    await deliver(server, refunded(payment, 400))
    expect((await troubles()).get(payment)).toBe('payment_missing')
    await deliver(server, succeeded(payment, 1_000, ada.id))
    expect((await walletOf(server, ada)).balance).toBe('6.00')
    expect((await troubles()).has(payment)).toBe(false)
  })

  test('of what is spent is owed, and taken as soon as there is something', async () => {
    const ada = await person(server)
    const payment = newPayment()
    await deliver(server, succeeded(payment, 1_000, ada.id))
    await spend(ada, 900n)
    await deliver(server, refunded(payment, 1_000))
    expect((await walletOf(server, ada)).balance).toBe('0.00')
    expect((await troubles()).get(payment)).toBe('refund_owed')
    await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: ada.id }, 2_000n)
    const { payments_looked_at: looked } = await collectOwed.dryRun!(server.kernel)
    const report = { payments_looked_at: looked!, payments_failed: 0, bodies_removed: 0 }
    expect(await collectOwed.run(server.kernel)).toEqual({ ...report, payments_collected: 1 })
    await collectOwed.run(server.kernel)
    expect((await walletOf(server, ada)).balance).toBe('11.00')
    expect((await troubles()).has(payment)).toBe(false)
  })

  test('that is owed is collected although another payment cannot be settled', async () => {
    const [ada, payment] = [await person(server), newPayment()]
    const { sql } = server.kernel.db
    // In a wallet, but whose? Only a bug could write it.
    await sql`
      insert into payments (provider, payment_id, asset, amount, refunded, credited, trouble,
        created_at, updated_at)
      values ('stripe', 'pi_broken', 'EUR', 5, 5, 'wallet', 'refund_owed', now(), now())`
    await deliver(server, succeeded(payment, 1_000, ada.id))
    await spend(ada, 1_000n)
    await deliver(server, refunded(payment, 1_000))
    await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: ada.id }, 1_000n)
    const report = await collectOwed.run(server.kernel)
    expect(report).toMatchObject({ payments_collected: 1, payments_failed: 1 })
    await sql`update payments set trouble = null where payment_id = 'pi_broken'`
  })

  test('of somebody who has left stays owed', async () => {
    const [ada, payment] = [await person(server), newPayment()]
    await deliver(server, succeeded(payment, 1_000, ada.id))
    await spend(ada, 1_000n)
    const closed = await rest(server, 'DELETE', '/api/v1/users/me', {
      token: ada.token,
      body: { password: ada.password },
    })
    expect(closed.status).toBe(200)
    expect((await deliver(server, refunded(payment, 1_000))).status).toBe(200)
    expect((await troubles()).get(payment)).toBe('refund_owed')
    expect(await collectOwed.run(server.kernel)).toMatchObject({ payments_failed: 0 })
  })

  test('of a payment for nobody goes back from where it waits', async () => {
    const payment = newPayment()
    const before = await outside()
    await deliver(server, succeeded(payment, 1_000))
    await deliver(server, refunded(payment, 1_000))
    expect(await outside()).toBe(before)
    expect((await troubles()).has(payment)).toBe(false)
  })
})

describe('a dispute', () => {
  const funded = async () => {
    const ada = await person(server)
    const payment = newPayment()
    await deliver(server, succeeded(payment, 1_000, ada.id))
    return { ada, payment }
  }

  test('sets the money aside until it is decided, and frees it when it is won', async () => {
    const { ada, payment } = await funded()
    await deliver(server, disputed(payment, 1_000, 'needs_response'))
    expect(await walletOf(server, ada)).toMatchObject({ balance: '10.00', available: '0.00' })
    expect((await troubles()).get(payment)).toBe('disputed')
    await deliver(server, disputed(payment, 1_000, 'won'))
    expect(await walletOf(server, ada)).toMatchObject({ balance: '10.00', available: '10.00' })
    expect((await troubles()).has(payment)).toBe(false)
  })

  test('that is lost takes the money, once, in whatever order it is told', async () => {
    for (const order of [
      ['needs_response', 'lost'],
      ['lost', 'needs_response'],
    ]) {
      const { ada, payment } = await funded()
      const before = await outside()
      for (const status of order) {
        const event = disputed(payment, 1_000, status)
        await Promise.all([deliver(server, event), deliver(server, event)])
      }
      expect(await walletOf(server, ada)).toEqual({
        balance: '0.00',
        held: '0.00',
        available: '0.00',
      })
      expect(await outside()).toBe(before + 1_000n)
      expect((await troubles()).has(payment)).toBe(false)
    }
  })

  test('of what is partly spent holds what is left, and the rest is owed', async () => {
    const { ada, payment } = await funded()
    await spend(ada, 400n)
    await deliver(server, disputed(payment, 1_000, 'needs_response'))
    expect(await walletOf(server, ada)).toMatchObject({ held: '6.00', available: '0.00' })
    await deliver(server, disputed(payment, 1_000, 'lost'))
    expect((await walletOf(server, ada)).balance).toBe('0.00')
    expect((await troubles()).get(payment)).toBe('refund_owed')
  })
})

test('any order and any number of deliveries of a payment’s events come to the same', async () => {
  const luck = chance('payment events')
  for (let run = 0; run < 12; run++) {
    const ada = await person(server)
    const payment = newPayment()
    const events = [
      succeeded(payment, 1_000),
      completed(payment, 1_000, ada.id),
      refunded(payment, 200),
      refunded(payment, 300),
      disputed(payment, 500, 'needs_response'),
      disputed(payment, 500, luck.below(2) === 0 ? 'won' : 'lost'),
    ]
    const lost = events[5]!.includes('"lost"')
    const queue = events.flatMap((event) => Array.from({ length: 1 + luck.below(2) }, () => event))
    for (let n = queue.length - 1; n > 0; n--) {
      const other = luck.below(n + 1)
      ;[queue[n], queue[other]] = [queue[other]!, queue[n]!]
    }
    while (queue.length > 0) {
      const together = queue.splice(0, 1 + luck.below(3))
      const answers = await Promise.all(together.map((event) => deliver(server, event)))
      expect(answers.map(({ status }) => status)).toEqual(together.map(() => 200))
    }
    expect(await walletOf(server, ada)).toMatchObject({
      balance: lost ? '2.00' : '7.00',
      held: '0.00',
    })
  }
}, 60_000)

describe('whoever is not the provider is refused', () => {
  test.each([
    ['without a signature', () => ''],
    [
      'with another secret',
      (body: string) => signed(body, { secret: 'whsec_guessed_by_somebody' }),
    ],
    ['with the signature of another body', () => signed('{}')],
    ['ten minutes later', (body: string) => signed(body, { atMs: Date.now() - 600_000 })],
    ['with nonsense', () => 't=1,v1=abc'],
  ])('%s', async (_what, header) => {
    const ada = await person(server)
    const body = succeeded(newPayment(), 100_000, ada.id)
    const answer = await deliver(server, body, header(body))
    expect([answer.status, answer.body['code']]).toEqual([401, 'unauthenticated'])
    expect((await walletOf(server, ada)).balance).toBe('0.00')
    const [{ id }] = [JSON.parse(body) as { id: string }]
    const rows = await server.kernel.db.sql`select from payment_events where event_id = ${id}`
    expect(rows).toHaveLength(0)
  })

  test('and written down', async () => {
    const [line] = await auditTrail(server, 'funding.webhook_refused')
    expect(line).toMatchObject({ outcome: 'denied', actor_kind: 'stranger' })
  })

  test('and so is a signed body that is no event, or too large, or of no provider', async () => {
    for (const body of ['', 'null', '[]', '{}', '{"id":1}', '\u0000', '{"id":"a","type":"b"}']) {
      expect((await deliver(server, body)).status).toBe(400)
    }
    const large = JSON.stringify({ pad: 'x'.repeat(1_100_000) })
    expect((await deliver(server, large)).status).toBe(413)
    const event = succeeded(newPayment(), 100)
    expect((await deliver(server, event, signed(event), 'paypal')).status).toBe(404)
    expect((await deliver(server, event, signed(event), '__proto__')).status).toBe(404)
  })

  test('a server without the secret knows no provider', async () => {
    const plain = await testServer({ database: server.database })
    const event = succeeded(newPayment(), 100)
    expect((await deliver(plain, event)).status).toBe(404)
    await plain.stop()
  })
})

test('good events do not count against their address; forgeries do', async () => {
  const limited = await testServer({
    database: server.database,
    env: {
      PAYMENT_WEBHOOK_SECRET: WEBHOOK_SECRET,
      RATE_LIMITS: 'on',
      RATE_LIMIT_MAX_REQUESTS: '5',
    },
  })
  try {
    for (let n = 0; n < 20; n++) {
      expect((await deliver(limited, succeeded(newPayment(), 100))).status).toBe(200)
    }
    const statuses = []
    for (let n = 0; n < 7; n++) statuses.push((await deliver(limited, '{}', 't=1,v1=a')).status)
    expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429])
  } finally {
    await limited.stop()
  }
})
