import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { auditTrail } from '../support/audit.ts'
import { expectLedgerCoherent } from '../support/books.ts'
import { provenFor, restWithFactor } from '../support/mfa.ts'
import { walletOf } from '../support/payments.ts'
import { administrator, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

/** Bank transfers: one administrator enters, another one confirms, and it counts once. */

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
afterEach(() => expectLedgerCoherent(server.database))
afterAll(() => server.stop())

const today = () => new Date().toISOString().slice(0, 10)
const transfers = '/api/v1/admin/funding/bank-transfers'
/** With the fresh second factor that it asks for. */
const call = (as: Person, method: string, path: string, body?: object) =>
  restWithFactor(server, method, `${transfers}${path}`, { as, body })
let references = 0
const transfer = (change: object = {}) => ({
  to_user_id: ada.id,
  amount: '250.00',
  asset: 'EUR',
  bank_reference: `NTRF-${process.pid}-${++references}`,
  value_date: today(),
  ...change,
})
const decide = (who: Person, id: unknown, verb: 'confirm' | 'reject') =>
  call(who, 'POST', `/${String(id)}/${verb}`, {})

test('is credited once two administrators agree, and not before', async () => {
  const { status, body } = await call(one, 'POST', '', transfer())
  expect([status, body['state']]).toEqual([201, 'pending'])
  expect((await walletOf(server, ada)).balance).toBe('0.00')
  expect((await decide(one, body['id'], 'confirm')).body['code']).toBe('forbidden')
  const path = `${transfers}/${body['id']}/confirm`
  const bare = await rest(server, 'POST', path, { token: two.token, body: {} })
  expect(bare.body['code']).toBe('step_up_required')
  // Each with a proof of its own, earned before, so that all come at once.
  const proofs = await Promise.all(
    Array.from({ length: 10 }, () => provenFor(server, 'POST', path, { as: two, body: {} })),
  )
  const answers = await Promise.all(
    proofs.map((headers) => rest(server, 'POST', path, { token: two.token, body: {}, headers })),
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
  const own = transfer({ to_user_id: one.id })
  expect((await call(one, 'POST', '', own)).status).toBe(403)
  const refusals = (await auditTrail(server, 'funding.bank_transfer_requested')).filter(
    ({ outcome }) => outcome === 'denied',
  )
  const after = { bank_reference: own.bank_reference }
  expect(refusals).toMatchObject([{ actor_id: one.id, subject_id: one.id, after }])
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
