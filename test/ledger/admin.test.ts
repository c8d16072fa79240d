import { SQL } from 'bun'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { sqlState } from '../../db/transaction.ts'
import {
  type Account,
  balanceOf,
  checkBooks,
  postedAct,
  PostingBatcher,
} from '../../src/ledger/index.ts'
import { reconcile } from '../../src/ledger/reconcile.ts'
import { auditTrail } from '../support/audit.ts'
import { expectLedgerCoherent, funds } from '../support/books.ts'
import { provenFor, restWithFactor } from '../support/mfa.ts'
import { administrator, type Body, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

/** The books as administrators see them, and what takes two of them. */

let server: TestServer
let one: Person
let two: Person
let ada: Person
beforeAll(async () => {
  server = await testServer()
  one = await administrator(server)
  two = await administrator(server)
  ada = await person(server, 'ada')
})
afterAll(() => server.stop())

/** With the fresh second factor that it asks for. */
const call = (as: Person, method: string, path: string, body?: unknown) =>
  restWithFactor(server, method, `/api/v1${path}`, { as, body })
const wallet = (who: Person, minor = 0n) =>
  funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: who.id }, minor)
const balance = async (account: Account) => (await balanceOf(server.kernel.db.sql, account)).balance

let acts = 0
async function pay(from: Account, to: Account, amount: bigint, kind = 'test.pay'): Promise<string> {
  const entries = [{ type: 'transfer', debit: from, credit: to, amount } as const]
  const act = { key: `admin ${++acts}`, kind, entries }
  return String(postedAct(await server.kernel.use(PostingBatcher).submit(act)))
}

describe('the books', () => {
  afterEach(() => expectLedgerCoherent(server.database))

  test('are checked on request: coherent, with a sum of zero for every asset', async () => {
    await wallet(ada, 100n)
    const { status, body } = await call(one, 'GET', '/admin/ledger/check')
    expect(status).toBe(200)
    expect(body).toMatchObject({ coherent: true, findings: [] })
    expect(body['assets'].map((row: Body) => [row['asset'], row['sum']])).toEqual([
      ['EUR', '0'],
      ['MSAT', '0'],
      ['T4G', '0'],
      ['TK', '0'],
      ['TKI', '0'],
    ])
    const eur = body['assets'][0]
    expect(eur.transfers).toBeGreaterThan(0)
    expect(eur.accounts).toBeGreaterThan(1)
  })

  test('list their accounts, in pages and by what one looks for', async () => {
    const all: Body[] = []
    let cursor = ''
    do {
      const { body } = await call(one, 'GET', `/admin/ledger/accounts?limit=2${cursor}`)
      all.push(...body['items'])
      cursor = body['next_cursor'] === null ? '' : `&cursor=${body['next_cursor']}`
    } while (cursor !== '')
    const { body } = await call(one, 'GET', `/admin/ledger/accounts?owner_id=${ada.id}`)
    expect(body['items']).toHaveLength(1)
    expect(all).toContainEqual(body['items'][0])
    const outside = await call(one, 'GET', '/admin/ledger/accounts?kind=external&asset=EUR')
    expect(outside.body['items'][0]).toMatchObject({ kind: 'external', owner_id: null })
  })

  test('show every act with both sides, and who looked into whose account', async () => {
    const fee = await funds(server.kernel, { asset: 'EUR', kind: 'fee' }, 0n)
    const from = await wallet(ada, 50n)
    const id = await pay(from, fee, 7n)
    const { body } = await call(one, 'GET', `/admin/ledger/acts/${id}`)
    expect(body).toMatchObject({ id, kind: 'test.pay', reversed_by: null, holds: [] })
    expect(body['transfers']).toEqual([
      {
        n: 1,
        asset: 'EUR',
        amount: '0.07',
        debit: { id: `${from.id}`, asset: 'EUR', kind: 'wallet', owner_id: ada.id, reference: '' },
        credit: { id: `${fee.id}`, asset: 'EUR', kind: 'fee', owner_id: null, reference: '' },
      },
    ])
    const lines = await call(one, 'GET', `/admin/ledger/accounts/${from.id}/statement?limit=1`)
    expect(lines.body['items'][0]).toMatchObject({ amount: '-0.07' })
    const read = await auditTrail(server, 'ledger.statement_read')
    expect(read).toMatchObject([{ actor_id: one.id, subject_id: ada.id }])
    for (const path of ['acts/999999999999999999', 'accounts/999999999999999999/statement']) {
      expect((await call(one, 'GET', `/admin/ledger/${path}`)).status).toBe(404)
    }
  })
})

describe('a reversal', () => {
  afterEach(() => expectLedgerCoherent(server.database))

  const ask = (who: Person, act_id: string, reason = 'Entered twice') =>
    call(who, 'POST', '/admin/ledger/reversals', { act_id, reason })
  const decision = (id: string, verb: string) => `/admin/ledger/reversals/${id}/${verb}`
  const decide = (who: Person, id: string, verb: string) =>
    call(who, 'POST', decision(id, verb), {})
  const withoutFactor = (who: Person, path: string, body: object) =>
    rest(server, 'POST', `/api/v1${path}`, { token: who.token, body })
  let bob: Person
  let from: Account
  let to: Account
  beforeAll(async () => {
    bob = await person(server, 'bob')
    ;[from, to] = [await wallet(ada, 10_000n), await wallet(bob, 0n)]
  })

  test('takes two administrators and a second factor of each', async () => {
    const id = await pay(from, to, 300n)
    const input = { act_id: id, reason: 'Entered twice' }
    const bare = await withoutFactor(one, '/admin/ledger/reversals', input)
    expect(bare.body['code']).toBe('step_up_required')
    const asked = await ask(one, id)
    expect(asked).toMatchObject({ status: 201, body: { state: 'pending', requested_by: one.id } })
    const approval = asked.body['id'] as string
    expect(asked.body['details']).toMatchObject({ act_id: id, gaining: [ada.id] })
    const own = await decide(one, approval, 'approve')
    expect([own.status, own.body['code']]).toEqual([403, 'forbidden'])
    const unproven = await withoutFactor(two, decision(approval, 'approve'), {})
    expect(unproven.body['code']).toBe('step_up_required')
    expect(await balance(to)).toBe(300n)
    const done = await decide(two, approval, 'approve')
    expect(done).toMatchObject({ status: 200, body: { state: 'approved', decided_by: two.id } })
    expect(await balance(to)).toBe(0n)
    const { body } = await call(one, 'GET', `/admin/ledger/acts/${id}`)
    expect(body['reversed_by']).not.toBeNull()
    expect((await decide(two, approval, 'approve')).status).toBe(409)
    expect((await ask(two, id)).status).toBe(409)
    const lines = (await auditTrail(server, 'ledger.revers')).filter(({ target_id }) => {
      return target_id === approval || target_id === id
    })
    expect(lines.map(({ action, outcome, actor_id }) => [action, outcome, actor_id])).toEqual([
      ['ledger.reversal_requested', 'success', one.id],
      ['ledger.reversal_approved', 'denied', one.id],
      ['ledger.reversal_approved', 'success', two.id],
      ['ledger.reversed', 'success', two.id],
    ])
  })

  test('is decided once, however many decide at the same time', async () => {
    const id = await pay(from, to, 200n)
    const approval = (await ask(one, id)).body['id'] as string
    const more = await Promise.all([administrator(server), administrator(server)])
    const path = `/api/v1${decision(approval, 'approve')}`
    // Proven beforehand, so that those who agree are no later than those who refuse.
    const calls = await Promise.all(
      [two, ...more, two, ...more].map(async (as, n) => {
        if (n % 2 === 1) return () => decide(as, approval, 'reject')
        const headers = await provenFor(server, 'POST', path, { as, body: {} })
        return () => rest(server, 'POST', path, { token: as.token, body: {}, headers })
      }),
    )
    const answers = await Promise.all(calls.map((send) => send()))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ body }) => body['code'] === 'conflict')).toHaveLength(5)
    const approved = answers.some(
      ({ status, body }) => status === 200 && body['state'] === 'approved',
    )
    expect(await balance(to)).toBe(approved ? 0n : 200n)
    if (!approved) await pay(to, from, 200n)
  })

  test('is not agreed to by who gains by it, nor asked for', async () => {
    const admin = await administrator(server)
    const theirs = await wallet(admin, 500n)
    const id = await pay(theirs, to, 100n)
    expect((await ask(admin, id)).body['code']).toBe('forbidden')
    const approval = (await ask(one, id)).body['id'] as string
    expect((await decide(admin, approval, 'approve')).body['code']).toBe('forbidden')
    // Not even by a statement of the server's own role.
    const sql = new SQL({ url: server.database.url, max: 1 })
    const forge = (statement: string) => sql.unsafe(statement).then(() => 'done', sqlState)
    const agree = (who: Person) => `
      update approvals set state = 'approved', decided_by = '${who.id}' where id = '${approval}'`
    expect(await forge(agree(admin))).toBe('23514')
    expect(await forge(agree(one))).toBe('23514')
    expect(await forge(`update approvals set barred = '{}' where id = '${approval}'`)).toBe('42501')
    expect(await forge(`update approvals set requested_by = '${two.id}'`)).toBe('42501')
    expect(await forge('delete from approvals')).toBe('42501')
    await sql.close()
    expect((await decide(two, approval, 'approve')).status).toBe(200)
  })

  test('of what is spent is refused, and may be agreed to later', async () => {
    const id = await pay(from, to, 100n)
    await pay(to, from, 100n)
    const approval = (await ask(one, id)).body['id'] as string
    expect((await decide(two, approval, 'approve')).body['code']).toBe('insufficient_funds')
    const { body } = await call(one, 'GET', '/admin/ledger/reversals?state=pending')
    expect(body['items'].map((item: Body) => item['id'])).toContain(approval)
    await pay(from, to, 100n)
    expect((await decide(two, approval, 'approve')).status).toBe(200)
  })

  test('can be taken back by whoever asked, and asked for again; not twice at once', async () => {
    const id = await pay(from, to, 10n)
    const first = await ask(one, id)
    expect((await ask(two, id)).body['code']).toBe('already_exists')
    expect((await decide(one, first.body['id'], 'reject')).body['state']).toBe('rejected')
    const second = await ask(two, id)
    expect(second.status).toBe(201)
    expect((await decide(two, second.body['id'], 'approve')).body['code']).toBe('forbidden')
    expect((await decide(one, second.body['id'], 'approve')).status).toBe(200)
  })

  test('that nobody has decided in a week is over', async () => {
    const id = await pay(from, to, 10n)
    const approval = (await ask(one, id)).body['id'] as string
    const owner = new SQL({ url: server.database.ownerUrl, max: 1 })
    await owner`update approvals set expires_at = now() where id = ${approval}`
    await owner.close()
    expect((await decide(two, approval, 'approve')).body['detail']).toBe('It has expired')
    const { body } = await call(one, 'GET', '/admin/ledger/reversals?state=expired')
    expect(body['items'].map((item: Body) => item['id'])).toEqual([approval])
    const again = await ask(one, id)
    expect(again.status).toBe(201)
    await decide(one, again.body['id'], 'reject')
  })

  test.each([
    ['of nothing', () => ({ act_id: '999999999999' }), 404],
    ['of no number', () => ({ act_id: '-1' }), 422],
    ['of a number', () => ({ act_id: 1 }), 422],
    ['without a reason', () => ({ reason: undefined }), 422],
  ])('%s is refused', async (_what, change, status) => {
    const input = { act_id: '1', reason: 'because', ...change() }
    expect((await call(one, 'POST', '/admin/ledger/reversals', input)).status).toBe(status)
  })

  test('of what has a state elsewhere names the way to take it back', async () => {
    const id = await pay(from, to, 5n, 'funding.payment')
    const { status, body } = await ask(one, id)
    expect([status, body['detail']]).toEqual([
      409,
      'Refund it at the payment provider: the ledger follows',
    ])
  })
})

describe('reconciliation', () => {
  test('compares every account outside with what its bank has said', async () => {
    const bank = await funds(
      server.kernel,
      { asset: 'EUR', kind: 'external', reference: 'a bank' },
      0n,
    )
    await pay(bank, await wallet(ada), 12_345n)
    const enter = (change: object = {}) =>
      call(one, 'POST', '/admin/ledger/statements', {
        account_id: String(bank.id),
        at: server.kernel.clock.iso(),
        balance: '123.45',
        reference: '2026/1',
        ...change,
      })
    const entered = await enter()
    expect(entered).toMatchObject({ status: 201, body: { difference: '0.00' } })
    const ours = ({ accounts }: Awaited<ReturnType<typeof reconcile>>) =>
      accounts.find(({ reference }) => reference === 'a bank')
    expect(ours(await reconcile(server.kernel))).toMatchObject({
      verdict: 'agrees',
      ledger_balance: '123.45',
      difference: '0.00',
    })
    await Bun.sleep(2)
    const wrong = await enter({ balance: '100.00', reference: '2026/2' })
    expect(wrong.body).toMatchObject({ ledger_balance: '123.45', difference: '-23.45' })
    const { status, body } = await call(one, 'POST', '/admin/ledger/reconciliation', {})
    expect(status).toBe(200)
    expect(body).toMatchObject({ agrees: false, books: { coherent: true } })
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    expect(metrics).toContain('ledger_reconciliation_agrees 0')
    expect(metrics).toContain('ledger_external_difference{asset="EUR",account="a bank"} -2345')
    const { body: kept } = await call(two, 'GET', '/admin/ledger/reconciliation')
    expect(kept['items'][0]).toEqual(body)
    await Bun.sleep(2)
    await enter({ reference: '2026/3' })
    expect((await reconcile(server.kernel)).agrees).toBe(true)
  })

  test('says which statements are missing', async () => {
    const { accounts } = await reconcile(server.kernel)
    expect(accounts.find(({ reference }) => reference === 'test')).toMatchObject({
      verdict: 'no_statement',
      difference: null,
    })
  })

  test.each([
    ['of the future', () => ({ at: '2999-01-01T00:00:00Z' }), 422],
    ['of a day that there is not', () => ({ at: '2026-02-30T00:00:00Z' }), 422],
    ['of half a cent', () => ({ balance: '0.005' }), 422],
    ['of no number', () => ({ balance: 'NaN' }), 422],
    ['of no account', () => ({ account_id: '999999999' }), 404],
  ])('a statement %s is refused', async (_what, change, status) => {
    const bank = await funds(server.kernel, { asset: 'EUR', kind: 'external', reference: 'b' }, 0n)
    const input = {
      account_id: String(bank.id),
      at: '2026-01-01T00:00:00Z',
      balance: '-1.50',
      reference: 'x',
    }
    const answer = await call(one, 'POST', '/admin/ledger/statements', { ...input, ...change() })
    expect(answer.status).toBe(status)
  })

  test('a statement of a wallet is refused, and a second one of the same instant', async () => {
    const mine = await wallet(ada)
    const bank = await funds(server.kernel, { asset: 'EUR', kind: 'external', reference: 'c' }, 0n)
    const input = { at: '2026-01-01T00:00:00Z', balance: '0', reference: 'x' }
    const enter = (account: Account) =>
      call(one, 'POST', '/admin/ledger/statements', { account_id: String(account.id), ...input })
    expect((await enter(mine)).status).toBe(422)
    expect((await enter(bank)).status).toBe(201)
    expect((await enter(bank)).body['code']).toBe('already_exists')
  })

  test('finds what the owner of the database has done to the books', async () => {
    const account = await wallet(ada)
    const owner = new SQL({ url: server.database.ownerUrl, max: 1 })
    try {
      await owner`update ledger_accounts set balance = balance + 1 where id = ${account.id}`
      const found = await reconcile(server.kernel)
      expect(found).toMatchObject({ agrees: false, books: { coherent: false } })
      expect(found.books.findings.join('\n')).toContain(`account ${account.id} has`)
    } finally {
      await owner`update ledger_accounts set balance = balance - 1 where id = ${account.id}`
      expect((await checkBooks(owner)).coherent).toBe(true)
      await owner.close()
    }
  })
})
