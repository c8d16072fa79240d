import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { TObject, TSchema } from '../../src/base/schema.ts'
import { features } from '../../src/features.ts'
import { pathParameters } from '../../src/http/mount.ts'
import { createRegistry } from '../../src/kernel/feature.ts'
import { postedAct, PostingBatcher } from '../../src/ledger/index.ts'
import { expectLedgerCoherent, funds } from '../support/books.ts'
import { Client } from '../support/client.ts'
import { giveFactor } from '../support/factor.ts'
import { earnToken, restWithFactor } from '../support/mfa.ts'
import { deliver, signed, succeeded, WEBHOOK_SECRET } from '../support/payments.ts'
import { administrator, type Person, person } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

/**
 * No path lets anybody credit themselves: every operation of the product is called by a user, and
 * by an administrator, with the fresh second factor that it asks for and whatever input might make
 * money of it. What both have in the end is what they had.
 */

let server: TestServer
let user: Person
let admin: Person
let others: string
beforeAll(async () => {
  server = await testServer({
    env: { PAYMENT_WEBHOOK_SECRET: WEBHOOK_SECRET },
    gatewayLimits: { errorsPerMinuteMax: 1e6 },
  })
  user = await person(server, 'user')
  await giveFactor(server.kernel, user.id)
  admin = await administrator(server)
  others = (await person(server, 'other')).id
})
afterAll(async () => {
  await expectLedgerCoherent(server.database)
  await server.stop()
})

const START = 10_000n

/** Values by the name of a field: what somebody would write who wants money. */
function guess(name: string, schema: TSchema, me: Person, ids: readonly string[]): unknown {
  if (/user_id$|^owner_id$/.test(name)) return me.id
  if (/^(id|.*_id)$/.test(name)) {
    return ids.length > 0 && schema['format'] === 'uuid' ? ids[0] : (schema['examples']?.[0] ?? '1')
  }
  if (name === 'amount') return '50'
  if (name === 'balance') return '1000'
  if (name === 'asset') return 'EUR'
  if (name === 'iban') return 'DE75512108001245126199'
  if (name === 'provider') return 'stripe'
  if (name === 'value_date') return new Date().toISOString().slice(0, 10)
  if (name === 'at') return new Date(0).toISOString()
  if (schema['enum'] !== undefined) return (schema['enum'] as unknown[])[0]
  if (schema['type'] === 'integer') return 1
  if (schema['type'] === 'boolean') return true
  if (schema['type'] === 'array') return []
  return `give me money ${crypto.randomUUID()}`
}

async function total(of: Person): Promise<bigint> {
  const [row] = await server.kernel.db.sql`
    select coalesce(sum(balance), 0)::text as sum from ledger_accounts where owner = ${of.id}`
  return BigInt(row.sum)
}

const skipped = /^(auth|users|admin)\./

test('whatever is called, nobody has more than before', async () => {
  for (const me of [user, admin]) {
    await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: me.id }, START)
  }
  const { operations } = createRegistry(features)
  const called: string[] = []
  for (const me of [user, admin]) {
    const client = await Client.connect(server.wsUrl, me.token)
    for (const op of [...operations.values()].filter(({ name }) => !skipped.test(name))) {
      // What was asked for before may be agreed to now: by the same person.
      const rows = await server.kernel.db.sql`
        select id from approvals where state = 'pending' order by id desc limit 20`
      for (const id of [...rows.map((row: { id: string }) => row.id), crypto.randomUUID()]) {
        const input = inputOf(op.input, me, [id])
        if (op.socket) {
          await overSocket(client, me, op.name, input)
        }
        for (const { method, path } of op.routes) {
          let address = `/api/v1${path}`
          const rest_ = { ...input }
          for (const [, name] of pathParameters(path)) {
            const value = typeof rest_[name] === 'string' ? rest_[name] : 'x'
            address = address.replace(`:${name}`, encodeURIComponent(value))
            delete rest_[name]
          }
          const body = method === 'GET' || method === 'DELETE' ? undefined : rest_
          const status = await overRest(me, method, address, body)
          if (status < 300) called.push(op.name)
          expect([op.name, status < 500]).toEqual([op.name, true])
        }
      }
    }
    await client.close()
  }
  // Held, perhaps; more, never.
  for (const me of [user, admin]) expect((await total(me)) <= START).toBe(true)
  // It was no empty threat: these went through.
  expect([...new Set(called)]).toEqual(
    expect.arrayContaining(['wallet.balances', 'payouts.request', 'ledger.check']),
  )
}, 120_000)

/** Calls, and once more with a fresh second factor where one is asked for. */
async function overSocket(client: Client, me: Person, type: string, payload: object) {
  const ask = async (step_up?: string) => {
    const id = crypto.randomUUID()
    client.send({ type, id, payload, ...(step_up === undefined ? {} : { step_up }) })
    return await client.wait((answer) => answer.id === id)
  }
  const first = await ask()
  if (first.payload['code'] !== 'step_up_required') return
  await ask(await earnToken(server, me, first.payload['challenge'] as string))
}

/** The same over REST, whatever the answer is made of; its status. */
async function overRest(me: Person, method: string, path: string, body?: object): Promise<number> {
  const ask = (more: Record<string, string> = {}) =>
    fetch(server.url + path, {
      method,
      headers: { Authorization: `Bearer ${me.token}`, 'Content-Type': 'application/json', ...more },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  const first = await ask()
  const text = await first.text()
  if (first.status !== 401 || !text.includes('step_up_required')) return first.status
  const { challenge } = JSON.parse(text) as { challenge: string }
  const second = await ask({ 'X-Step-Up': await earnToken(server, me, challenge) })
  await second.arrayBuffer()
  return second.status
}

function inputOf(schema: TObject, me: Person, ids: readonly string[]): Record<string, unknown> {
  const input: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(schema.properties)) {
    // To oneself is refused at once; to another one it would only make oneself poorer.
    if (name === 'to_user_id' && field['format'] === 'uuid') input[name] = me.id
    else if (name !== 'cursor') input[name] = guess(name, field, me, ids)
  }
  return input
}

test('a webhook of one’s own making credits nobody', async () => {
  const before = await total(user)
  const body = succeeded(`pi_${crypto.randomUUID()}`, 1_000_000, user.id)
  for (const header of ['', signed(body, { secret: 'a secret that I have made up' }), signed('')]) {
    expect((await deliver(server, body, header)).status).toBe(401)
  }
  expect(await total(user)).toBe(before)
})

test('an administrator alone moves no money to anybody', async () => {
  const post = (path: string, body: object) =>
    restWithFactor(server, 'POST', `/api/v1${path}`, { as: admin, body })
  const wallet = await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: others }, 0n)
  const fee = await funds(server.kernel, { asset: 'EUR', kind: 'fee' }, 100n)
  const entries = [{ type: 'transfer', debit: wallet, credit: fee, amount: 1n } as const]
  await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: others }, 1n)
  const act = { key: 'self credit', kind: 'test.pay', entries }
  const act_id = String(postedAct(await server.kernel.use(PostingBatcher).submit(act)))
  const asked = [
    await post('/admin/ledger/reversals', { act_id, reason: 'for a friend' }),
    await post('/admin/funding/bank-transfers', {
      to_user_id: others,
      amount: '1000',
      bank_reference: `FRIEND ${crypto.randomUUID()}`,
      value_date: new Date().toISOString().slice(0, 10),
    }),
  ]
  const verbs = ['/admin/ledger/reversals/:id/approve', '/admin/funding/bank-transfers/:id/confirm']
  for (const [n, { status, body }] of asked.entries()) {
    expect(status).toBe(201)
    const answer = await post(verbs[n]!.replace(':id', body['id']), {})
    expect([answer.status, answer.body['code']]).toEqual([403, 'forbidden'])
  }
  const [row] = await server.kernel.db.sql`
    select coalesce(sum(balance), 0)::text as sum from ledger_accounts where owner = ${others}`
  expect(row.sum).toBe('0')
})

test('the control: once somebody else agrees, the very same call goes through', async () => {
  const two = await administrator(server)
  const { body } = await restWithFactor(server, 'POST', '/api/v1/admin/funding/bank-transfers', {
    as: admin,
    body: {
      to_user_id: others,
      amount: '1000',
      bank_reference: `REAL ${crypto.randomUUID()}`,
      value_date: new Date().toISOString().slice(0, 10),
    },
  })
  const path = `/api/v1/admin/funding/bank-transfers/${body['id']}/confirm`
  const answer = await restWithFactor(server, 'POST', path, { as: two, body: {} })
  expect(answer.status).toBe(200)
})
