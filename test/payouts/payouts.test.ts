import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expireHolds } from '../../src/ledger/index.ts'
import { deliver as deliverOrder, deliverAll } from '../../src/payouts/orders.ts'
import { auditTrail } from '../support/audit.ts'
import { expectLedgerCoherent, funds } from '../support/books.ts'
import { Client } from '../support/client.ts'
import { giveFactor } from '../support/factor.ts'
import { provenFor, restWithFactor } from '../support/mfa.ts'
import { walletOf } from '../support/payments.ts'
import { administrator, type Body, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** Money on its way to a bank account, from the request to the bank's answer. */

let server: TestServer
let one: Person
let two: Person
beforeAll(async () => {
  server = await testServer()
  one = await administrator(server)
  two = await administrator(server)
})
afterEach(() => expectLedgerCoherent(server.database))
afterAll(() => server.stop())

const IBAN = 'DE89 3704 0044 0532 0130 00'
const call = (who: Person, method: string, path: string, body?: object, headers = {}) =>
  rest(server, method, `/api/v1${path}`, { token: who.token, body, headers })
/** With the fresh second factor that it asks for. */
const act = (as: Person, method: string, path: string, body?: object) =>
  restWithFactor(server, method, `/api/v1/admin/payouts${path}`, { as, body })
/** The same in two steps: proven now, sent later, so that calls at once really are. */
async function ready(as: Person, path: string, body: object) {
  const address = `/api/v1/admin/payouts${path}`
  const headers = await provenFor(server, 'POST', address, { as, body })
  return () => rest(server, 'POST', address, { token: as.token, body, headers })
}
const request = (who: Person, change: object = {}, headers = {}) =>
  call(
    who,
    'POST',
    '/payouts',
    { amount: '100', iban: IBAN, name: 'Ada Lovelace', ...change },
    headers,
  )
/** Somebody with money and a second factor, whose account at the bank is known since yesterday. */
async function customer(minor = 100_000n): Promise<Person> {
  const who = await person(server)
  await giveFactor(server.kernel, who.id)
  await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: who.id }, minor)
  await server.kernel.db.sql`
    insert into payout_destinations (user_id, iban, first_used_at)
    values (${who.id}, ${IBAN.replaceAll(' ', '')}, now() - interval '25 hours')`
  return who
}
async function approved(who: Person, amount = '100'): Promise<string> {
  const { body } = await request(who, { amount })
  const { status } = await act(one, 'POST', `/requests/${body['id']}/approve`, {})
  expect(status).toBe(200)
  return body['id'] as string
}
const stateOf = async (who: Person, id: string) =>
  (await call(who, 'GET', `/payouts/${id}`)).body['state'] as string
const folder = () => join(server.kernel.config.dataDir, 'payouts')
async function ordered(): Promise<Body> {
  const { status, body } = await act(one, 'POST', '/files', {})
  expect(status).toBe(201)
  return body
}
const delivered = (file: Body) =>
  until(async () => {
    const { body } = await act(one, 'GET', '/files')
    return body['items'].some((f: Body) => f['id'] === file['id'] && f['state'] === 'delivered')
  }, 'the order is delivered')

describe('a payout', () => {
  test('is held, approved, ordered and paid, and its owner sees every step', async () => {
    const ada = await customer()
    const ear = await Client.connect(server.wsUrl, ada.token)
    const asked = await request(ada)
    expect(asked).toMatchObject({
      status: 201,
      body: {
        state: 'requested',
        amount: '100.00',
        iban: 'DE89…3000',
        held_until: null,
        reason: null,
      },
    })
    const id = asked.body['id'] as string
    expect(await walletOf(server, ada)).toEqual({
      balance: '1000.00',
      held: '100.00',
      available: '900.00',
    })
    const { body: pending } = await act(one, 'GET', '/requests?state=pending')
    expect(pending['items'][0]).toMatchObject({
      id,
      requested_by: ada.id,
      details: { iban: IBAN.replaceAll(' ', ''), amount: '100.00', name: 'Ada Lovelace' },
    })
    await act(one, 'POST', `/requests/${id}/approve`, {})
    const file = await ordered()
    expect(file).toMatchObject({ count: 1, control_sum: '100.00' })
    await delivered(file)
    const path = join(folder(), `${file['message_id']}.xml`)
    const xml = readFileSync(path, 'utf8')
    expect(xml).toContain(`<EndToEndId>${id.replaceAll('-', '')}</EndToEndId>`)
    const response = await fetch(`${server.url}/api/v1/admin/payouts/files/${file['id']}`, {
      headers: { Authorization: `Bearer ${two.token}` },
    })
    expect(response.headers.get('content-type')).toBe('application/xml; charset=utf-8')
    expect(await response.text()).toBe(xml)
    const settled = await act(two, 'POST', `/${id}/settle`, { bank_reference: 'B 17' })
    expect(settled.body).toMatchObject({ state: 'completed' })
    expect(await walletOf(server, ada)).toEqual({
      balance: '900.00',
      held: '0.00',
      available: '900.00',
    })
    await ear.wait(({ type, payload }) => type === 'payout' && payload['state'] === 'completed')
    expect(ear.events('payout').map(({ payload }) => payload['state'])).toEqual([
      'requested',
      'approved',
      'processing',
      'completed',
    ])
    const { body: statement } = await call(ada, 'GET', '/wallet/statement?asset=EUR&limit=1')
    expect(statement['items'][0]).toMatchObject({
      kind: 'payouts.settle',
      label: 'Payout to DE89…3000',
      amount: '-100.00',
    })
    const lines = (await auditTrail(server, 'payouts.')).filter(({ target_id }) => target_id === id)
    expect(lines.map(({ action }) => action)).toEqual([
      'payouts.payout_requested',
      'payouts.payout_approved',
      'payouts.approved',
      'payouts.processing',
      'payouts.completed',
    ])
    await ear.close()
  })

  test('that is rejected, or that the bank refuses, is its owner’s again', async () => {
    const ada = await customer()
    const { body } = await request(ada)
    await act(one, 'POST', `/requests/${body['id']}/reject`, { note: 'Whose account is that?' })
    const shown = await call(ada, 'GET', `/payouts/${body['id']}`)
    expect(shown.body).toMatchObject({ state: 'rejected', reason: 'Whose account is that?' })
    const id = await approved(ada)
    await ordered()
    expect((await walletOf(server, ada)).available).toBe('900.00')
    const failed = await act(one, 'POST', `/${id}/fail`, { reason: 'Account closed' })
    expect(failed.body).toMatchObject({ state: 'failed', reason: 'Account closed' })
    expect(await walletOf(server, ada)).toMatchObject({ balance: '1000.00', available: '1000.00' })
  })

  test('can be taken back until somebody has approved it, by its owner', async () => {
    const [ada, eve] = [await customer(), await customer()]
    const { body } = await request(ada)
    expect((await call(eve, 'DELETE', `/payouts/${body['id']}`)).status).toBe(404)
    expect((await call(eve, 'GET', `/payouts/${body['id']}`)).status).toBe(404)
    const taken = await call(ada, 'DELETE', `/payouts/${body['id']}`)
    expect(taken.body).toMatchObject({ state: 'rejected', reason: 'Taken back by its owner' })
    expect((await walletOf(server, ada)).available).toBe('1000.00')
    expect((await call(ada, 'DELETE', `/payouts/${body['id']}`)).status).toBe(409)
    const id = await approved(ada)
    expect((await call(ada, 'DELETE', `/payouts/${id}`)).status).toBe(409)
    await ordered()
    await act(one, 'POST', `/${id}/settle`, {})
  })

  test('is decided once, whoever approves, rejects or takes back at the same time', async () => {
    const ada = await customer()
    const { body } = await request(ada)
    const id = body['id'] as string
    const approve = `/requests/${id}/approve`
    const [first, second] = [await ready(one, approve, {}), await ready(two, approve, {})]
    const answers = await Promise.all([
      first(),
      act(two, 'POST', `/requests/${id}/reject`, {}),
      call(ada, 'DELETE', `/payouts/${id}`),
      second(),
    ])
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(3)
    const state = await stateOf(ada, id)
    expect((await walletOf(server, ada)).held).toBe(state === 'approved' ? '100.00' : '0.00')
    if (state !== 'approved') return
    await ordered()
    await act(one, 'POST', `/${id}/settle`, {})
  })

  test('is settled or failed once, whoever says so at the same time', async () => {
    const ada = await customer()
    const id = await approved(ada)
    await ordered()
    const fails = await Promise.all(
      [1, 2, 3].map(() => ready(two, `/${id}/fail`, { reason: 'refused' })),
    )
    const answers = await Promise.all([
      ...[1, 2, 3].map(() => act(one, 'POST', `/${id}/settle`, {})),
      ...fails.map((fail) => fail()),
    ])
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    const paid = (await stateOf(ada, id)) === 'completed'
    expect(await walletOf(server, ada)).toMatchObject({
      balance: paid ? '900.00' : '1000.00',
      held: '0.00',
    })
  })

  test('of an administrator is decided by another one, at every step', async () => {
    await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: one.id }, 50_000n)
    await server.kernel.db.sql`
      insert into payout_destinations values (${one.id}, ${IBAN.replaceAll(' ', '')}, '2020-01-01')`
    const { body } = await request(one)
    const id = body['id'] as string
    expect((await act(one, 'POST', `/requests/${id}/approve`, {})).status).toBe(403)
    await act(two, 'POST', `/requests/${id}/approve`, {})
    const file = await ordered()
    expect((await act(one, 'POST', `/${id}/settle`, {})).status).toBe(403)
    expect((await act(one, 'POST', `/${id}/fail`, { reason: 'I want it back' })).status).toBe(403)
    expect((await act(one, 'POST', `/files/${file['id']}/settle`, {})).status).toBe(403)
    const denied = (await auditTrail(server, 'payouts.')).filter((line) => {
      return line.outcome === 'denied' && line.target_id === id
    })
    expect(denied.map(({ action, actor_id }) => [action, actor_id])).toEqual([
      ['payouts.payout_approved', one.id],
      ['payouts.completed', one.id],
      ['payouts.failed', one.id],
      ['payouts.completed', one.id],
    ])
    expect((await act(two, 'POST', `/${id}/settle`, {})).status).toBe(200)
  })

  test('takes no step out of turn', async () => {
    const ada = await customer()
    const { body } = await request(ada)
    const id = body['id'] as string
    for (const step of ['settle', 'fail']) {
      const answer = await act(one, 'POST', `/${id}/${step}`, { reason: 'too early' })
      expect([step, answer.status]).toEqual([step, step === 'settle' ? 422 : 409])
    }
    expect((await act(one, 'POST', `/${id}/settle`, {})).status).toBe(409)
    await call(ada, 'DELETE', `/payouts/${id}`)
    expect((await act(one, 'POST', `/requests/${id}/approve`, {})).status).toBe(409)
    const nothing = crypto.randomUUID()
    expect((await act(one, 'POST', `/requests/${nothing}/approve`, {})).status).toBe(404)
    expect((await act(one, 'POST', `/${nothing}/settle`, {})).status).toBe(404)
  })

  test('does not run out while the bank thinks', async () => {
    const ada = await customer()
    const id = await approved(ada)
    await expireHolds(server.kernel)
    expect((await walletOf(server, ada)).held).toBe('100.00')
    await ordered()
    await act(one, 'POST', `/${id}/settle`, {})
  })
})

describe('waiting', () => {
  test('a new destination waits a day, and says so', async () => {
    const ada = await customer()
    const fresh = 'FR14 2004 1010 0505 0001 3M02 606'
    const { body } = await request(ada, { iban: fresh })
    const held = Date.parse(body['held_until']) - server.kernel.clock.now()
    expect(held).toBeGreaterThan(86_000_000)
    const early = await act(one, 'POST', `/requests/${body['id']}/approve`, {})
    expect([early.status, early.body['code']]).toEqual([409, 'conflict'])
    expect(early.body['detail']).toContain('Held until')
    // A second request does not make it older, nor younger.
    const again = await request(ada, { iban: fresh, amount: '1' })
    expect(again.body['held_until']).toBe(body['held_until'])
    // Somebody else's knowledge of the same account is not one's own.
    const bob = await customer()
    expect((await request(bob, { iban: fresh })).body['held_until']).not.toBeNull()
    for (const [who, id] of [
      [ada, body['id']],
      [ada, again.body['id']],
    ] as const) {
      await call(who, 'DELETE', `/payouts/${id}`)
    }
  })

  test('so does a known one after a change of password or second factor', async () => {
    const ada = await customer()
    const { sql } = server.kernel.db
    const before = await request(ada)
    expect(before.body['held_until']).toBeNull()
    const password = { current_password: ada.password, password: 'another password of hers' }
    const path = '/api/v1/auth/password/change'
    const changed = await restWithFactor(server, 'POST', path, { as: ada, body: password })
    expect(changed.status).toBe(200)
    const { body } = await request(ada)
    expect(Date.parse(body['held_until']) - server.kernel.clock.now()).toBeGreaterThan(86_000_000)
    // The control: it is the day that counts, not the change.
    await sql`
      update users set security_changed_at = now() - interval '25 hours' where id = ${ada.id}`
    expect((await request(ada)).body['held_until']).toBeNull()
  })

  test('somebody who is blocked meanwhile is not paid', async () => {
    const ada = await customer()
    const { body } = await request(ada)
    await server.kernel.db.sql`update users set blocked_at = now() where id = ${ada.id}`
    expect((await act(one, 'POST', `/requests/${body['id']}/approve`, {})).status).toBe(404)
    await act(one, 'POST', `/requests/${body['id']}/reject`, {})
  })
})

describe('above 1,000 euros in a day', () => {
  test('payouts and transfers count together', async () => {
    const [ada, bob] = [await customer(500_000n), await person(server)]
    expect((await request(ada, { amount: '1000.01' })).body['code']).toBe('step_up_required')
    expect((await request(ada, { amount: '600' })).status).toBe(201)
    const sent = { to_user_id: bob.id, amount: '400.01', asset: 'EUR' }
    expect((await call(ada, 'POST', '/wallet/transfers', sent)).body['code']).toBe(
      'step_up_required',
    )
    const less = { ...sent, amount: '400' }
    expect((await call(ada, 'POST', '/wallet/transfers', less)).status).toBe(201)
    expect((await request(ada, { amount: '0.01' })).body['code']).toBe('step_up_required')
    // What is released again was not spent.
    const { body } = await call(ada, 'GET', '/payouts')
    await call(ada, 'DELETE', `/payouts/${body['items'][0].id}`)
    expect((await request(ada, { amount: '600' })).status).toBe(201)
  })

  test('ten requests of 999 at once are not ten small ones', async () => {
    const ada = await customer(2_000_000n)
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => request(ada, { amount: '999' })),
    )
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
  })
})

describe('bad input is refused and holds nothing', () => {
  test.each([
    ['nothing', { amount: '0' }, 422],
    ['less', { amount: '-1' }, 422],
    ['half a cent', { amount: '0.005' }, 422],
    ['an exponent', { amount: '1e3' }, 422],
    ['not a number', { amount: 'NaN' }, 422],
    ['80 digits', { amount: '9'.repeat(80) }, 422],
    ['more than there is', { amount: '999.99' }, 409],
    ['more than banks carry', { amount: '1000000000' }, 401],
    ['another asset', { asset: 'TK' }, 422],
    ['no IBAN', { iban: 'my account' }, 422],
    ['an IBAN with a wrong digit', { iban: 'DE89370400440532013001' }, 422],
    ['an IBAN beyond the SEPA area', { iban: 'US64SVBKUS6S3300958879' }, 422],
    ['a name that no bank can write', { name: '测试' }, 422],
    ['a name of a space', { name: ' ' }, 422],
    ['a name with a line break', { name: 'Ada\nLovelace' }, 422],
    ['a state', { state: 'approved' }, 422],
    ['a day', { not_before: '2020-01-01T00:00:00Z' }, 422],
  ])('%s', async (_what, change, status) => {
    const ada = await customer(50_000n)
    expect((await request(ada, change)).status).toBe(status)
    expect(await walletOf(server, ada)).toMatchObject({ held: '0.00', available: '500.00' })
  })

  test('eleven at a time', async () => {
    const ada = await customer()
    const answers = []
    for (let n = 0; n < 11; n++) answers.push((await request(ada, { amount: '1' })).status)
    expect(answers).toEqual([...Array.from({ length: 10 }, () => 201), 409])
  })

  test('the same key twice is the same payout', async () => {
    const ada = await customer()
    const key = { 'Idempotency-Key': 'pay me once' }
    const answers = await Promise.all([1, 2, 3].map(() => request(ada, {}, key)))
    expect(new Set(answers.map(({ body }) => body['id'])).size).toBe(1)
    expect((await walletOf(server, ada)).held).toBe('100.00')
  })
})

describe('an order', () => {
  /** Whatever other tests have left approved. */
  beforeAll(async () => {
    await act(one, 'POST', '/files', {})
  })

  test('takes what is approved once, however many order at the same time', async () => {
    const ids = []
    for (let n = 0; n < 6; n++) ids.push(await approved(await customer(), '10'))
    const answers = await Promise.all(
      [one, two, one, two].map((who) => act(who, 'POST', '/files', {})),
    )
    const made = answers.filter(({ status }) => status === 201)
    expect(made.reduce((sum, { body }) => sum + body['count'], 0)).toBe(6)
    const none = answers.filter(({ status }) => status === 409)
    expect(made.length + none.length).toBe(4)
    const xml = []
    for (const { body } of made) {
      await delivered(body)
      xml.push(readFileSync(join(folder(), `${body['message_id']}.xml`), 'utf8'))
    }
    const named = [...xml.join('').matchAll(/<EndToEndId>(\w+)</g)].map(([, id]) => `${id}`)
    expect(named.toSorted()).toEqual(ids.map((id) => id.replaceAll('-', '')).toSorted())
  })

  test('is settled as a whole, except what the bank has refused', async () => {
    const people = await Promise.all(Array.from({ length: 4 }, () => customer()))
    const ids: string[] = []
    for (const who of people) ids.push(await approved(who))
    const file = await ordered()
    await act(one, 'POST', `/${ids[3]}/settle`, {})
    const failed = [{ payout_id: ids[0]!, reason: 'No such account' }]
    const unknown = [{ payout_id: crypto.randomUUID(), reason: 'No such account' }]
    const path = `/files/${file['id']}/settle`
    expect((await act(two, 'POST', path, { failed: unknown })).status).toBe(409)
    const answers = await Promise.all([1, 2].map(() => act(two, 'POST', path, { failed })))
    const good = answers.filter(({ status }) => status === 200)
    expect(good.map(({ body }) => body)).toEqual([{ completed: 2, failed: 1 }])
    const left = await Promise.all(people.map((who) => walletOf(server, who)))
    expect(left.map(({ available }) => available)).toEqual([
      '1000.00',
      '900.00',
      '900.00',
      '900.00',
    ])
  })

  test('that was stored but not handed over is handed over, the same bytes, once', async () => {
    const id = await approved(await customer())
    const file = await ordered()
    await delivered(file)
    const path = join(folder(), `${file['message_id']}.xml`)
    const before = readFileSync(path)
    const { sql } = server.kernel.db
    // The crash: the server died between the commit and the file.
    rmSync(path)
    await sql`update payout_files set state = 'prepared' where id = ${file['id']}`
    await Promise.all([deliverAll(server.kernel), deliverAll(server.kernel)])
    expect(readFileSync(path)).toEqual(before)
    // Or between the file and its note: asked, not written again.
    await sql`update payout_files set state = 'prepared' where id = ${file['id']}`
    await deliverAll(server.kernel)
    expect(readdirSync(folder()).filter((name) => name.includes(file['message_id']))).toHaveLength(
      1,
    )
    await delivered(file)
    await act(one, 'POST', `/${id}/settle`, {})
  })

  test('is never written over another one: somebody has to look', async () => {
    const id = await approved(await customer())
    const file = await ordered()
    await delivered(file)
    const path = join(folder(), `${file['message_id']}.xml`)
    writeFileSync(path, 'somebody has edited this')
    const { sql } = server.kernel.db
    await sql`update payout_files set state = 'prepared' where id = ${file['id']}`
    await expect(deliverOrder(server.kernel, file['id'])).rejects.toThrow('another order')
    expect(readFileSync(path, 'utf8')).toBe('somebody has edited this')
    const { body } = await act(one, 'GET', '/files?limit=1')
    expect(body['items'][0]).toMatchObject({ id: file['id'], state: 'prepared' })
    rmSync(path)
    await deliverAll(server.kernel)
    await act(one, 'POST', `/${id}/settle`, {})
  })

  test('of nothing is refused, and users have no say in it', async () => {
    const ada = await customer()
    for (const path of ['/files', '', '/requests']) {
      expect((await act(ada, 'GET', path)).status).toBe(403)
    }
    await act(one, 'POST', '/files', {})
    expect((await act(one, 'POST', '/files', {})).body['code']).toBe('conflict')
  })
})
