import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { expectLedgerCoherent } from '../support/books.ts'
import { walletOf } from '../support/payments.ts'
import { administrator, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { acceptStepUp, STEPPED_UP } from '../support/step-up.ts'

/** Bank transfers: one administrator enters, another one confirms, and it counts once. */

let server: TestServer
let one: Person
let two: Person
let ada: Person
beforeAll(async () => {
  server = await testServer()
  acceptStepUp(server.kernel)
  one = await administrator(server)
  two = await administrator(server)
  ada = await person(server, 'ada')
})
afterEach(() => expectLedgerCoherent(server.database))
afterAll(() => server.stop())

const today = () => new Date().toISOString().slice(0, 10)
const call = (who: Person, method: string, path: string, body?: object, headers = STEPPED_UP) =>
  rest(server, method, `/api/v1/admin/funding/bank-transfers${path}`, {
    token: who.token,
    body,
    headers: { ...headers },
  })
let references = 0
const transfer = (change: object = {}) => ({
  to_user_id: ada.id,
  amount: '250.00',
  asset: 'EUR',
  bank_reference: `NTRF-${process.pid}-${++references}`,
  value_date: today(),
  ...change,
})
const decide = (who: Person, id: unknown, verb: 'confirm' | 'reject', headers = STEPPED_UP) =>
  call(who, 'POST', `/${String(id)}/${verb}`, {}, headers)

test('is credited once two administrators agree, and not before', async () => {
  const { status, body } = await call(one, 'POST', '', transfer())
  expect([status, body['state']]).toEqual([201, 'pending'])
  expect((await walletOf(server, ada)).balance).toBe('0.00')
  expect((await decide(one, body['id'], 'confirm')).body['code']).toBe('forbidden')
  const bare = await decide(two, body['id'], 'confirm', { 'X-Step-Up': '' })
  expect(bare.body['code']).toBe('step_up_required')
  const answers = await Promise.all(
    Array.from({ length: 10 }, () => decide(two, body['id'], 'confirm')),
  )
  expect(answers.filter((answer) => answer.status === 200)).toHaveLength(1)
  expect((await walletOf(server, ada)).balance).toBe('250.00')
})

test('the same booking counts once, however written, and again after a rejection', async () => {
  const booking = transfer({ bank_reference: 'abc  12/ 7' })
  const first = await call(one, 'POST', '', booking)
  expect(first.body['details'].bank_reference).toBe('ABC 12/ 7')
  const same = transfer({ bank_reference: 'ABC 12/ 7', amount: '1' })
  expect((await call(two, 'POST', '', same)).body['code']).toBe('already_exists')
  await decide(two, first.body['id'], 'reject')
  const again = await call(one, 'POST', '', booking)
  expect(again.status).toBe(201)
  await decide(two, again.body['id'], 'confirm')
  expect((await call(one, 'POST', '', booking)).body['code']).toBe('already_exists')
})

test('goes to no administrator who has a hand in it', async () => {
  expect((await call(one, 'POST', '', transfer({ to_user_id: one.id }))).status).toBe(403)
  const { body } = await call(one, 'POST', '', transfer({ to_user_id: two.id }))
  expect((await decide(two, body['id'], 'confirm')).body['code']).toBe('forbidden')
  expect((await walletOf(server, two)).balance).toBe('0.00')
  const three = await administrator(server)
  expect((await decide(three, body['id'], 'confirm')).status).toBe(200)
  expect((await walletOf(server, two)).balance).toBe('250.00')
})

test('to somebody who has left meanwhile is not credited', async () => {
  const gone = await person(server)
  const { body } = await call(one, 'POST', '', transfer({ to_user_id: gone.id }))
  await server.kernel.db.sql`update users set closed_at = now() where id = ${gone.id}`
  expect((await decide(two, body['id'], 'confirm')).status).toBe(404)
})

describe('refused is', () => {
  test.each([
    ['nothing', { amount: '0' }, 422],
    ['half a cent', { amount: '0.005' }, 422],
    ['less than nothing', { amount: '-5' }, 422],
    ['another asset', { asset: 'TK' }, 422],
    ['nobody', { to_user_id: crypto.randomUUID() }, 404],
    ['no date', { value_date: '2026-02-30' }, 422],
    ['tomorrow but one', { value_date: '2999-01-01' }, 422],
    ['long ago', { value_date: '2001-01-01' }, 422],
    ['no reference', { bank_reference: undefined }, 422],
    ['a reference of signs', { bank_reference: "'; drop table" }, 422],
    ['a field that nobody knows', { state: 'approved' }, 422],
  ])('%s', async (_what, change, status) => {
    expect((await call(one, 'POST', '', transfer(change))).status).toBe(status)
  })
})
