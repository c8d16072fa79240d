import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SQL } from 'bun'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { sqlState } from '../../db/transaction.ts'
import { Accounts, postedAct, PostingBatcher } from '../../src/ledger/index.ts'
import { deliverAll } from '../../src/payouts/orders.ts'
import { checkStep, STATES } from '../../src/payouts/states.ts'
import { auditTrail } from '../support/audit.ts'
import { funds } from '../support/books.ts'
import { query } from '../support/embedded.ts'
import { giveFactor } from '../support/factor.ts'
import { recordingLog } from '../support/log.ts'
import { restWithFactor } from '../support/mfa.ts'
import { administrator, type Body, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** What is paid is what was approved, whatever the payout's row says by then. */

const IBAN = 'DE89370400440532013000'
const EVIL = 'FR1420041010050500013M02606'

const log = recordingLog()
let server: TestServer
let one: Person
let ada: Person
beforeAll(async () => {
  server = await testServer({ log })
  one = await administrator(server)
  ada = await person(server)
  await giveFactor(server.kernel, ada.id)
  await funds(server.kernel, { asset: 'EUR', kind: 'wallet', owner: ada.id }, 10_000_000n)
  await server.kernel.db.sql`
    insert into payout_destinations (user_id, iban, first_used_at)
    values (${ada.id}, ${IBAN}, now() - interval '25 hours')`
})
afterAll(() => server.stop())

const act = (method: string, path: string, body?: object) =>
  restWithFactor(server, method, `/api/v1/admin/payouts${path}`, { as: one, body })
/** A statement of whoever owns the tables, whom no right stops. */
const asOwner = (statement: string) =>
  query(server.database.ownerUrl, (sql) => sql.unsafe(statement))
/** How a statement ends for the server's role. */
const asServer = (statement: string) =>
  query(server.database.url, (sql) => sql.unsafe(statement).then(() => 'done', sqlState))
const stateOf = async (id: string) => {
  const [row] = await server.kernel.db.sql`select state from payouts where id = ${id}`
  return row.state as string
}

async function asked(): Promise<string> {
  const { status, body } = await rest(server, 'POST', '/api/v1/payouts', {
    token: ada.token,
    body: { amount: '10', iban: IBAN, name: 'Ada Lovelace' },
  })
  expect(status).toBe(201)
  return body['id'] as string
}
async function approved(): Promise<string> {
  const id = await asked()
  expect((await act('POST', `/requests/${id}/approve`, {})).status).toBe(200)
  return id
}
const order = () => act('POST', '/files', {})
const fileOf = (body: Body) =>
  join(server.kernel.config.dataDir, 'payouts', `${body['message_id']}.xml`)
async function ordered(): Promise<string> {
  const { status, body } = await order()
  expect(status).toBe(201)
  await until(() => existsSync(fileOf(body)), 'the order is handed over')
  return readFileSync(fileOf(body), 'utf8')
}
/** What the log and the audit log say of a payout that was not paid. */
async function alarms(id: string) {
  const lines = (await auditTrail(server, 'payouts.not_as_approved')).filter(
    ({ target_id }) => target_id === id,
  )
  return {
    logged: log.entries
      .filter(({ level, fields }) => level === 'error' && fields['payout'] === id)
      .map(({ fields }) => fields['differs']),
    audited: lines.map(({ outcome, after }) => [outcome, after.differs]),
  }
}
const settled = (id: string) => act('POST', `/${id}/settle`, {})

beforeEach(() => void log.entries.splice(0))

describe('what a payout is', () => {
  const columns = {
    user_id: 'gen_random_uuid()',
    asset: `'TK'`,
    amount: 'amount * 1000',
    iban: `'${EVIL}'`,
    name: `'Eve'`,
    not_before: `'2000-01-01'`,
    requested_at: `'2000-01-01'`,
    id: 'gen_random_uuid()',
  }
  test.each(Object.entries(columns))(
    'cannot be changed by the server’s role: %s',
    async (column, value) => {
      expect(await asServer(`update payouts set ${column} = ${value}`)).toBe('42501')
      expect(await asServer(`update payouts set state = state, ${column} = ${value}`)).toBe('42501')
    },
  )

  test('goes the steps of its table and no other, whoever writes', async () => {
    const sql = new SQL({ url: server.database.ownerUrl, max: 1 })
    const inFile = (state: string) =>
      ['processing', 'completed', 'failed'].includes(state) ? `'${crypto.randomUUID()}'` : 'null'
    const wrong = []
    for (const from of STATES) {
      for (const to of STATES) {
        await sql`begin`
        const id = crypto.randomUUID()
        await sql.unsafe(`
          insert into payouts (id, user_id, asset, amount, iban, name, state, not_before,
            requested_at, updated_at, file_id)
          values ('${id}', '${ada.id}', 'EUR', 1, '${IBAN}', 'A', '${from}', now(), now(), now(),
            ${inFile(from)})`)
        const file = inFile(from) === 'null' && inFile(to) !== 'null' ? inFile(to) : 'file_id'
        const outcome = await sql
          .unsafe(`update payouts set state = '${to}', file_id = ${file} where id = '${id}'`)
          .then(() => 'done', sqlState)
        let allowed = from === to
        try {
          checkStep(from, to)
          allowed = true
        } catch {}
        if ((outcome === 'done') !== allowed) wrong.push([from, to, outcome])
        await sql`rollback`
      }
    }
    await sql.close()
    expect(wrong).toEqual([])
  })

  test('is in one order for ever: none is paid a second time', async () => {
    const id = await approved()
    await ordered()
    const back = `update payouts set state = 'approved', file_id = null where id = '${id}'`
    expect(await asServer(back)).toBe('42501')
    const other = `update payouts set file_id = gen_random_uuid() where id = '${id}'`
    expect(await asServer(other)).toBe('42501')
    await settled(id)
    expect(await asServer(back)).toBe('42501')
    // The control: without the wall the order would still not pay what is paid already.
    await asOwner('alter table payouts disable trigger payouts_steps')
    expect(await asServer(back)).toBe('done')
    await asOwner('alter table payouts enable trigger payouts_steps')
    expect((await order()).status).toBe(409)
    expect(await alarms(id)).toMatchObject({ logged: [['hold']] })
    await asOwner(`delete from payouts where id = '${id}'`)
  })
})

describe('an order pays nothing', () => {
  const forgeries: Readonly<Record<string, string>> = {
    iban: `iban = '${EVIL}'`,
    amount: 'amount = 999999',
    name: `name = 'Eve'`,
    user: `user_id = '${crypto.randomUUID()}'`,
    asset: `asset = 'TK'`,
    not_before: `not_before = '2000-01-01'`,
  }
  test.each(Object.keys(forgeries))('whose %s is not what was approved', async (what) => {
    const [good, bad] = [await approved(), await approved()]
    await asOwner(`update payouts set ${forgeries[what]} where id = '${bad}'`)
    const xml = await ordered()
    expect(xml).toContain(good.replaceAll('-', ''))
    expect(xml).not.toContain(bad.replaceAll('-', ''))
    expect(xml).not.toContain(EVIL)
    expect([await stateOf(good), await stateOf(bad)]).toEqual(['processing', 'approved'])
    const differs = ['amount', 'user'].includes(what) ? [what, 'hold'] : [what]
    expect(await alarms(bad)).toEqual({ logged: [differs], audited: [['denied', differs]] })
    // Alone it is refused, and said again.
    const alone = await order()
    expect([alone.status, alone.body['code']]).toEqual([409, 'conflict'])
    expect(alone.body['detail']).toContain('is not what was approved')
    expect((await alarms(bad)).audited).toHaveLength(2)
    await asOwner(`delete from payouts where id = '${bad}'`)
    await settled(good)
  })

  test('that nobody has approved, though its row says so', async () => {
    const id = crypto.randomUUID()
    expect(
      await asServer(`
        insert into payouts (id, user_id, asset, amount, iban, name, state, not_before,
          requested_at, updated_at)
        values ('${id}', '${ada.id}', 'EUR', 5, '${EVIL}', 'Eve', 'approved', now(), now(),
          now())`),
    ).toBe('done')
    const pending = await asked()
    await asServer(`update payouts set state = 'approved' where id = '${pending}'`)
    expect((await order()).status).toBe(409)
    expect(await alarms(id)).toMatchObject({ logged: [['approval', 'hold']] })
    expect(await alarms(pending)).toMatchObject({ logged: [['approval']] })
    await asOwner(`delete from payouts where id in ('${id}', '${pending}')`)
  })

  test('for which nothing is set aside any more', async () => {
    const id = await approved()
    const account = await server.kernel
      .use(Accounts)
      .open({ asset: 'EUR', kind: 'wallet', owner: ada.id })
    const entries = [{ type: 'void', hold: id, account }] as const
    const key = `test:void:${id}`
    postedAct(await server.kernel.use(PostingBatcher).submit({ key, kind: 'test', entries }))
    expect((await order()).status).toBe(409)
    expect(await alarms(id)).toMatchObject({ logged: [['hold']] })
    await asOwner(`delete from payouts where id = '${id}'`)
  })

  test('that was changed between the request and the approval', async () => {
    const id = await asked()
    await asOwner(`update payouts set iban = '${EVIL}' where id = '${id}'`)
    const { status, body } = await act('POST', `/requests/${id}/approve`, {})
    expect([status, body['detail']]).toEqual([
      409,
      'It is not what was asked for: somebody has to look',
    ])
    expect(await stateOf(id)).toBe('requested')
    expect(await alarms(id)).toEqual({ logged: [['iban']], audited: [['denied', ['iban']]] })
    await asOwner(`delete from payouts where id = '${id}'`)
  })

  test('control: it is the approval that is compared', async () => {
    const id = await approved()
    await asOwner(`update payouts set iban = '${EVIL}' where id = '${id}'`)
    await asOwner('alter table approvals disable trigger approvals_final')
    await asOwner(`
      update approvals set details = details || '{"iban": "${EVIL}"}' where id = '${id}'`)
    await asOwner('alter table approvals enable trigger approvals_final')
    expect(await ordered()).toContain(EVIL)
    expect(await alarms(id)).toEqual({ logged: [], audited: [] })
    await settled(id)
  })
})

describe('an order that is stored', () => {
  afterEach(() => asOwner(`delete from payout_files where state = 'prepared'`))
  const forged = async (content: Buffer, id: string = crypto.randomUUID()) => {
    await server.kernel.db.sql`
      insert into payout_files (id, message_id, state, count, control_sum, sha256, content,
        created_by, created_at)
      values (${id}, ${id.replaceAll('-', '')}, 'prepared', 1, 5,
        ${createHash('sha256').update(content).digest()}, ${content}, ${one.id}, now())`
    return { message_id: id.replaceAll('-', '') }
  }

  test('is not handed over when nobody has made it: the bank would pay it', async () => {
    const body = await forged(Buffer.from(`<Document>${EVIL}</Document>`))
    expect(await deliverAll(server.kernel)).toEqual({ orders_delivered: 0, orders_failed: 1 })
    expect(existsSync(fileOf(body))).toBe(false)
    const [entry] = log.entries.filter(({ level }) => level === 'error')
    expect(String(entry?.fields['error'])).toContain('is not what was approved')
  })

  test('is not handed over with other bytes than those of its payouts', async () => {
    const id = await approved()
    const { body } = await order()
    await until(() => existsSync(fileOf(body)), 'the order is handed over')
    const [file] = await server.kernel.db.sql`
      select content from payout_files where id = ${body['id']}`
    const changed = Buffer.from(String(Buffer.from(file.content)).replaceAll(IBAN, EVIL))
    // An order of its own, and the payouts moved into it by the owner.
    const other = crypto.randomUUID()
    const moved = await forged(changed, other)
    await asOwner('alter table payouts disable trigger payouts_steps')
    await asOwner(`update payouts set file_id = '${other}' where id = '${id}'`)
    expect(await deliverAll(server.kernel)).toEqual({ orders_delivered: 0, orders_failed: 1 })
    expect(existsSync(fileOf(moved))).toBe(false)
    await asOwner(`update payouts set file_id = '${body['id']}' where id = '${id}'`)
    await asOwner('alter table payouts enable trigger payouts_steps')
    await settled(id)
  })
})
