import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { postActs, postedAct, PostingBatcher } from '../../src/ledger/index.ts'
import { EXPORT_LINES_MAX } from '../../src/ledger/operations.ts'
import { spentLately } from '../../src/ledger/spending.ts'
import { auditTrail } from '../support/audit.ts'
import { expectLedgerCoherent, funds } from '../support/books.ts'
import { type CallError, Client } from '../support/client.ts'
import { giveFactor } from '../support/factor.ts'
import { restWithFactor } from '../support/mfa.ts'
import { type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

/** A wallet as its owner uses it, over REST and over a socket. */

let server: TestServer
let ada: Person
let bob: Person
beforeAll(async () => {
  server = await testServer()
  ada = await person(server, 'ada')
  // So that what needs a second factor is refused for the want of a fresh one.
  await giveFactor(server.kernel, ada.id)
  bob = await person(server, 'bob')
})
afterEach(() => expectLedgerCoherent(server.database))
afterAll(() => server.stop())

const fund = (who: Person, minor: bigint, asset = 'EUR') =>
  funds(server.kernel, { asset, kind: 'wallet', owner: who.id }, minor)
const call = (who: Person, method: string, path: string, body?: unknown, headers = {}) =>
  rest(server, method, `/api/v1${path}`, { token: who.token, body, headers })
const send = (who: Person, body: object, headers = {}) =>
  call(who, 'POST', '/wallet/transfers', body, headers)
const available = async (who: Person, asset = 'EUR') => {
  const { body } = await call(who, 'GET', '/wallet/balances')
  return body['items'].find((item: { asset: string }) => item.asset === asset).available as string
}

describe('balances', () => {
  test('name every asset, also those that one has nothing of', async () => {
    const { status, body } = await call(await person(server), 'GET', '/wallet/balances')
    expect(status).toBe(200)
    expect(body['items'].map((item: { asset: string }) => item.asset)).toEqual([
      'EUR',
      'MSAT',
      'T4G',
      'TK',
      'TKI',
    ])
    expect(body['items'][0]).toEqual({
      asset: 'EUR',
      name: 'Euro',
      scale: 2,
      transferable: true,
      balance: '0.00',
      held: '0.00',
      available: '0.00',
    })
    expect(body['items'][3]).toMatchObject({ balance: '0.000000000000000000', transferable: false })
  })
})

describe('a transfer', () => {
  test('moves money, tells both, and stands in both statements', async () => {
    const [rich, poor] = [await person(server), await person(server)]
    await fund(rich, 10_000n)
    const ears = await Promise.all(
      [rich, poor].map(({ token }) => Client.connect(server.wsUrl, token)),
    )
    const { status, body } = await send(rich, {
      to_user_id: poor.id.toUpperCase(),
      amount: '12.5',
      asset: 'EUR',
      note: 'Lunch, "with" \\ everything',
    })
    expect(status).toBe(201)
    expect(body).toMatchObject({
      to_user_id: poor.id,
      amount: '12.50',
      balance: { asset: 'EUR', balance: '87.50', held: '0.00', available: '87.50' },
    })
    const [left, come] = await Promise.all(
      ears.map((ear, n) => {
        const now = n === 0 ? '87.50' : '12.50'
        return ear.wait(({ type, payload }) => type === 'balance' && payload['available'] === now)
      }),
    )
    expect(left!.payload).toEqual(body['balance'])
    expect(come!.payload).toMatchObject({ asset: 'EUR', balance: '12.50', held: '0.00' })
    const mine = await call(rich, 'GET', '/wallet/statement?asset=EUR')
    expect(mine.body['items'][0]).toMatchObject({
      kind: 'wallet.transfer',
      label: 'Lunch, "with" \\ everything',
      reference: { type: 'transfer', id: body['id'] },
      amount: '-12.50',
      balance: '87.50',
      peer_id: poor.id,
      reverses: null,
    })
    const theirs = await call(poor, 'GET', '/wallet/statement?asset=EUR')
    expect(theirs.body['items']).toHaveLength(1)
    expect(theirs.body['items'][0]).toMatchObject({ amount: '12.50', peer_id: rich.id })
    await Promise.all(ears.map((ear) => ear.close()))
  })

  test('is written to the audit log', async () => {
    await fund(ada, 100n)
    const { body } = await send(ada, { to_user_id: bob.id, amount: '0.01', asset: 'EUR' })
    const lines = await auditTrail(server, 'wallet.transferred')
    expect(lines.filter(({ after }) => after.id === body['id'])).toMatchObject([
      { actor_id: ada.id, target_id: bob.id, after: { amount: '0.01' } },
    ])
  })

  test('counts once for an idempotency key, fifty times at once', async () => {
    const [rich, poor] = [await person(server), await person(server)]
    await fund(rich, 1_000n)
    const body = { to_user_id: poor.id, amount: '10', asset: 'EUR' }
    const key = { 'Idempotency-Key': 'one-and-the-same' }
    const answers = await Promise.all(Array.from({ length: 50 }, () => send(rich, body, key)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]))
    expect(new Set(answers.map((a) => a.body['id'])).size).toBe(1)
    expect(await available(poor)).toBe('10.00')
    const changed = await send(rich, { ...body, amount: '9' }, key)
    expect(changed).toMatchObject({ status: 422, body: { code: 'idempotency_key_reused' } })
    // Closing the recipient afterwards does not change what was answered.
    await server.kernel.db.sql`update users set blocked_at = now() where id = ${poor.id}`
    expect((await send(rich, body, key)).body['id']).toBe(answers[0]!.body['id'])
  })

  test('of fifty at once, as many pass as there is money for', async () => {
    const [rich, poor] = [await person(server), await person(server)]
    await fund(rich, 1_000n)
    const body = { to_user_id: poor.id, amount: '1', asset: 'EUR' }
    const answers = await Promise.all(Array.from({ length: 50 }, () => send(rich, body)))
    const counts = Object.groupBy(answers, ({ status }) => String(status))
    expect([counts['201']?.length, counts['409']?.length]).toEqual([10, 40])
    expect([await available(rich), await available(poor)]).toEqual(['0.00', '10.00'])
  })

  test('both ways at once ends', async () => {
    const [one, two] = [await person(server), await person(server)]
    await Promise.all([fund(one, 2_000n), fund(two, 2_000n)])
    const there = { to_user_id: two.id, amount: '1', asset: 'EUR' }
    const back = { ...there, to_user_id: one.id }
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) => (n % 2 === 0 ? send(one, there) : send(two, back))),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 40 }, () => 201))
    expect([await available(one), await available(two)]).toEqual(['20.00', '20.00'])
  })
})

describe('bad input is refused, changes nothing, and says why', () => {
  const nobody = crypto.randomUUID()
  const cases: [what: string, change: () => object, status: number, code: string][] = [
    ['nothing', () => ({ amount: '0' }), 422, 'validation_failed'],
    ['less than nothing', () => ({ amount: '-1' }), 422, 'validation_failed'],
    ['a tenth of a cent', () => ({ amount: '0.001' }), 422, 'validation_failed'],
    ['an exponent', () => ({ amount: '1e3' }), 422, 'validation_failed'],
    ['not a number', () => ({ amount: 'NaN' }), 422, 'validation_failed'],
    ['infinity', () => ({ amount: 'Infinity' }), 422, 'validation_failed'],
    ['80 digits', () => ({ amount: '9'.repeat(80) }), 422, 'validation_failed'],
    ['40 digits', () => ({ amount: '9'.repeat(40) }), 401, 'step_up_required'],
    ['a number', () => ({ amount: 12.5 }), 422, 'validation_failed'],
    ['digits of another script', () => ({ amount: '١٢' }), 422, 'validation_failed'],
    ['no amount', () => ({ amount: undefined }), 422, 'validation_failed'],
    ['no such asset', () => ({ asset: 'XXX' }), 422, 'validation_failed'],
    ['an asset in small letters', () => ({ asset: 'eur' }), 422, 'validation_failed'],
    ['an asset that users cannot send', () => ({ asset: 'TK' }), 422, 'validation_failed'],
    ['to oneself', () => ({ to_user_id: ada.id }), 422, 'validation_failed'],
    [
      'to oneself in capitals',
      () => ({ to_user_id: ada.id.toUpperCase() }),
      422,
      'validation_failed',
    ],
    ['to nobody', () => ({ to_user_id: nobody }), 404, 'not_found'],
    ['to no id', () => ({ to_user_id: 'bob' }), 422, 'validation_failed'],
    ['from somebody else', () => ({ from_user_id: bob.id }), 422, 'validation_failed'],
    ['an account of the ledger', () => ({ account: 1 }), 422, 'validation_failed'],
    ['a long note', () => ({ note: 'n'.repeat(141) }), 422, 'validation_failed'],
    ['a note with a line break', () => ({ note: 'a\nb' }), 422, 'validation_failed'],
    ['a note with U+0000', () => ({ note: 'a\0b' }), 422, 'validation_failed'],
    ['more than there is', () => ({ amount: '900' }), 409, 'insufficient_funds'],
  ]
  beforeAll(() => fund(ada, 1_000n))

  test.each(cases)('%s', async (_what, change, status, code) => {
    const before = await available(ada)
    const input = { to_user_id: bob.id, amount: '1', asset: 'EUR', ...change() }
    const answer = await send(ada, input)
    expect([answer.status, answer.body['code']]).toEqual([status, code])
    const client = await Client.connect(server.wsUrl, ada.token)
    const refusal = await client.call('wallet.transfer', input).catch((error: unknown) => error)
    expect((refusal as CallError).payload?.code).toBe(code as never)
    await client.close()
    expect(await available(ada)).toBe(before)
  })

  test('somebody whose account is closed or blocked is nobody', async () => {
    for (const column of ['closed_at', 'blocked_at']) {
      const gone = await person(server)
      await server.kernel.db.sql.unsafe(
        `update users set ${column} = now() where id = '${gone.id}'`,
      )
      const answer = await send(ada, { to_user_id: gone.id, amount: '1', asset: 'EUR' })
      expect([answer.status, answer.body['code']]).toEqual([404, 'not_found'])
    }
  })

  test('whoever has nothing opens nobody’s wallet', async () => {
    const poor = await person(server)
    const other = await person(server)
    const input = { to_user_id: other.id, amount: '1', asset: 'MSAT' }
    expect((await send(poor, input)).body['code']).toBe('insufficient_funds')
    const opened = await server.kernel.db.sql`
      select from ledger_accounts where owner in (${poor.id}, ${other.id})`
    expect(opened).toHaveLength(0)
  })
})

describe('above 1,000 euros in a day', () => {
  test('a fresh second factor is asked for', async () => {
    const [rich, poor] = [await person(server), await person(server)]
    await fund(rich, 1_000_000n)
    await giveFactor(server.kernel, rich.id)
    const input = (amount: string) => ({ to_user_id: poor.id, amount, asset: 'EUR' })
    expect((await send(rich, input('1000.01'))).body['code']).toBe('step_up_required')
    expect((await send(rich, input('1000'))).status).toBe(201)
    expect((await send(rich, input('0.01'))).body['code']).toBe('step_up_required')
    const path = '/api/v1/wallet/transfers'
    const large = { as: rich, body: input('5000') }
    expect((await restWithFactor(server, 'POST', path, large)).status).toBe(201)
    // Of another asset so much is free as well.
    await fund(rich, 1_000n, 'T4G')
    expect((await send(rich, { ...input('1'), asset: 'T4G' })).status).toBe(201)
    expect(await available(poor)).toBe('6000.00')
  })

  test('ten times 999 at once are not ten small ones', async () => {
    const [rich, poor] = [await person(server), await person(server)]
    await fund(rich, 2_000_000n)
    await giveFactor(server.kernel, rich.id)
    const input = { to_user_id: poor.id, amount: '999', asset: 'EUR' }
    const answers = await Promise.all(Array.from({ length: 10 }, () => send(rich, input)))
    const codes = answers.map(({ status, body }) => (status === 201 ? 'sent' : body['code']))
    expect(codes.filter((code) => code === 'sent')).toHaveLength(1)
    expect(codes.filter((code) => code === 'step_up_required')).toHaveLength(9)
    expect(await available(poor)).toBe('999.00')
  })

  test('the control: adding up without the lock lets all ten pass', async () => {
    const rich = await person(server)
    const [from, to] = [await fund(rich, 2_000_000n), await fund(bob, 0n)]
    const { db } = server.kernel
    let asked = 0
    const passed = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        db.transaction(async ({ sql }) => {
          const spent = await spentLately(sql, from.id)
          asked++
          while (asked < 10) await Bun.sleep(1)
          if (spent + 99_900n > 100_000n) return false
          const entry = { type: 'transfer', debit: from, credit: to, amount: 99_900n } as const
          await postActs(sql, [{ key: `naive ${n}`, kind: 'wallet.transfer', entries: [entry] }])
          return true
        }),
      ),
    )
    expect(passed.filter(Boolean)).toHaveLength(10)
  })
})

describe('the statement', () => {
  let owner: Person
  const lines = async (query = '') =>
    (await call(owner, 'GET', `/wallet/statement?asset=EUR${query}`)).body
  beforeAll(async () => {
    owner = await person(server)
    const wallet = await fund(owner, 10_000n)
    const fee = await funds(server.kernel, { asset: 'EUR', kind: 'fee' }, 0n)
    for (let n = 1; n <= 9; n++) {
      const entry = { type: 'transfer', debit: wallet, credit: fee, amount: BigInt(n) } as const
      const label = n === 1 ? '=SUM(A1:A9)' : `fee ${n}, "quoted"`
      const act = { key: `statement ${n}`, kind: 'test.fee', label, entries: [entry] }
      postedAct(await server.kernel.use(PostingBatcher).submit(act))
    }
  })

  test('comes in pages that fit together, newest first', async () => {
    const all = (await lines()).items as {
      id: string
      amount: string
      balance: string
      at: string
    }[]
    expect(all).toHaveLength(10)
    const paged = []
    let cursor = ''
    do {
      const page = await lines(`&limit=3${cursor}`)
      paged.push(...page.items)
      cursor = page.next_cursor === null ? '' : `&cursor=${page.next_cursor}`
    } while (cursor !== '')
    expect(paged).toEqual(all)
    expect(all.map(({ amount }) => amount).slice(0, 2)).toEqual(['-0.09', '-0.08'])
    expect(all.at(-1)).toMatchObject({ amount: '100.00', balance: '100.00' })
    const [from, to] = [all[6]!.at, all[2]!.at]
    const part = await lines(`&from=${from}&to=${to}`)
    expect(part.items).toEqual(all.slice(3, 7))
  })

  test.each([
    ['a month that there is not', '&from=2026-13-01T00:00:00Z', 422],
    ['a year that no database knows', '&from=0000-01-01T00:00:00Z', 422],
    ['the end of all years', '&to=9999-12-31T23:59:59-12:00', 422],
    ['a day that there is not', '&to=2026-02-30T00:00:00Z', 422],
    ['another list’s cursor', '&cursor=abc', 422],
    ['a cursor of nothing', '&cursor=999999999999999999.1', 200],
    ['a page too large', '&limit=101', 422],
    ['a date alone', '&from=2026-01-01', 422],
  ])('%s: %s', async (_what, query, status) => {
    const answer = await call(owner, 'GET', `/wallet/statement?asset=EUR${query}`)
    expect(answer.status).toBe(status)
  })

  test('is a table for spreadsheets that runs no formula, and adds up', async () => {
    const path = `${server.url}/api/v1/wallet/statement.csv?asset=EUR`
    const response = await fetch(path, { headers: { Authorization: `Bearer ${owner.token}` } })
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8')
    expect(response.headers.get('content-disposition')).toContain('statement-EUR.csv')
    expect(response.headers.get('link')).toBeNull()
    const text = await response.text()
    const rows = text.split('\r\n')
    expect(rows[0]).toBe('time,act,kind,label,reference,asset,amount,balance')
    expect(rows).toHaveLength(12)
    expect(rows[1]).toContain('"fee 9, ""quoted""",,EUR,-0.09,99.55')
    expect(rows[9]).toContain("'=SUM(A1:A9)")
    const sum = rows.slice(1, -1).reduce((all, row) => all + Number(row.split(',').at(-2)), 0)
    expect(sum.toFixed(2)).toBe('99.55')
    const empty = await call(owner, 'GET', '/wallet/statement.csv?asset=XXX')
    expect(empty.status).toBe(422)
  })

  test('goes on where one file ends', async () => {
    const sql = server.kernel.db.sql
    const wallet = await fund(owner, 0n, 'MSAT')
    const outside = await funds(
      server.kernel,
      { asset: 'MSAT', kind: 'external', reference: 'x' },
      0n,
    )
    const entries = Array.from({ length: 5_000 }, () => {
      return { type: 'transfer', debit: outside, credit: wallet, amount: 1n } as const
    })
    for (const n of [1, 2, 3]) {
      const act = { key: `long ${n}`, kind: 'test.long', entries }
      postedAct(await server.kernel.use(PostingBatcher).submit(act))
    }
    const get = (query: string) =>
      fetch(`${server.url}/api/v1/wallet/statement.csv${query}`, {
        headers: { Authorization: `Bearer ${owner.token}` },
      })
    const first = await get('?asset=MSAT')
    const next = /^<(.*)>; rel="next"$/.exec(first.headers.get('link') ?? '')?.[1] ?? ''
    const second = await get(next)
    expect(second.headers.get('link')).toBeNull()
    const rows = ((await first.text()) + (await second.text())).trimEnd().split('\r\n')
    expect(rows).toHaveLength(15_001)
    expect(EXPORT_LINES_MAX).toBe(10_000)
    expect(rows[1]!.endsWith('1,15000')).toBe(true)
    expect(rows.at(-1)!.endsWith('1,1')).toBe(true)
    expect(await sql`select from ledger_transfers where credit = ${wallet.id}`).toHaveLength(15_000)
  })

  test('of somebody else is not to be had', async () => {
    const { body } = await call(owner, 'GET', `/wallet/statement?asset=EUR&user_id=${ada.id}`)
    expect(body['items'][0].id).toBe((await lines()).items[0].id)
    const { status } = await call(owner, 'GET', `/wallet/statement?asset=EUR&owner_id=${ada.id}`)
    expect(status).toBe(422)
  })
})
