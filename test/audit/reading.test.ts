import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Sealer } from '../../src/audit/sealer.ts'
import { auditTrail } from '../support/audit.ts'
import { Client } from '../support/client.ts'
import { administrator, type Body, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { lineAbout, request } from './setup.ts'

/** Searching and exporting the log. */

const ADA = '0198a000-0000-7000-8000-00000000ada0'
const BOB = '0198a000-0000-7000-8000-00000000b0b0'

let server: TestServer
let admin: Person
beforeAll(async () => {
  server = await testServer()
  admin = await administrator(server)
  const { audit, db } = server.kernel
  for (let n = 1; n <= 25; n++) {
    const line = lineAbout(n % 5 === 0 ? BOB : ADA, n)
    const outcome = n % 10 === 0 ? ('denied' as const) : ('success' as const)
    await audit.insert(db.sql, [{ ...line, outcome, request: { ...request, id: `call-${n}` } }])
    await Bun.sleep(2)
  }
  await server.kernel.use(Sealer).seal()
})
afterAll(() => server.stop())

const search = (query: string, token = admin.token) =>
  rest(server, 'GET', `/api/v1/admin/audit-logs?${query}`, { token })
const things = ({ body }: { body: Body }) =>
  body.items.map(({ target_id }: { target_id: string }) => Number(target_id.split('-')[1]))

describe('a search', () => {
  test('finds the newest first, with everything that is kept of a line', async () => {
    const { status, body } = await search('action=tests.&limit=1')
    expect(status).toBe(200)
    expect(body.items[0]).toMatchObject({
      actor_kind: 'stranger',
      actor_id: BOB,
      action: 'tests.written',
      outcome: 'success',
      target_type: 'thing',
      target_id: 'thing-25',
      transport: 'rest',
      request_id: 'call-25',
      before: { n: 24 },
      after: { n: 25, text: 'the 25th', amount: 25.1 },
      subject_id: BOB,
      origin: { address: '203.0.113.7', user_agent: 'Tests/1.0' },
      personal: { name: 'Ada the 25th' },
      position: expect.any(Number),
    })
  })

  test.each([
    [`actor_id=${BOB}`, [25, 20, 15, 10, 5]],
    [`actor_id=${BOB}&outcome=denied`, [20, 10]],
    ['target_id=thing-7', [7]],
    ['target_type=thing&target_id=thing-7&request_id=call-8', []],
    ['request_id=call-12', [12]],
    ['action=tests.writ&outcome=denied', [20, 10]],
    ['action=tests.written', Array.from({ length: 25 }, (_, n) => 25 - n)],
    ['action=tests.writtenn', []],
    ['action=test&target_type=user', []],
  ])('by %s', async (query, expected) => {
    expect(
      things(await search(`${query}&action=tests.`.replace(/(action=.*)&action=.*/, '$1'))),
    ).toEqual(expected)
  })

  test('by time, from and up to but not including', async () => {
    const all = (await search('action=tests.&limit=100')).body.items as Body[]
    const [from, to] = [all[14]?.at, all[4]?.at]
    const some = await search(`action=tests.&from=${from}&to=${to}`)
    expect(things(some)).toEqual(all.slice(5, 15).map(({ after }) => after.n))
  })

  test('goes on page by page, without a line twice', async () => {
    let [cursor, pages]: [string, number[][]] = ['', []]
    do {
      const page = await search(`action=tests.&limit=7${cursor}`)
      pages = [...pages, things(page)]
      cursor = page.body.next_cursor === null ? '' : `&cursor=${page.body.next_cursor}`
    } while (cursor !== '')
    expect(pages.map((page) => page.length)).toEqual([7, 7, 7, 4])
    expect(pages.flat()).toEqual(Array.from({ length: 25 }, (_, n) => 25 - n))
  })

  test.each([
    'cursor=nonsense',
    'cursor=MjAyNi0wMS0wMSB4',
    'from=yesterday',
    'action=TESTS',
    `action=${encodeURIComponent("x' or true --")}`,
    'outcome=maybe',
    'limit=101',
    'limit=0',
    'unknown=1',
    `target_id=${'x'.repeat(201)}`,
  ])('with %s is refused', async (query) => {
    const { status, body } = await search(query)
    expect([status, body.code]).toEqual([422, 'validation_failed'])
  })

  test('is itself in the log, with what was looked for', async () => {
    await search(`actor_id=${ADA}&limit=3`)
    const line = (await auditTrail(server, 'audit.searched')).at(-1)
    expect(line).toMatchObject({
      actor_id: admin.id,
      after: { filters: { actor_id: ADA, limit: 3 }, lines: 3 },
      personal: { address: '127.0.0.1' },
    })
  })

  test('works over a socket as well', async () => {
    const client = await Client.connect(server.wsUrl, admin.token)
    const page = await client.ask<Body>('audit.search', { action: 'tests.', limit: 2 })
    expect(things({ body: page })).toEqual([25, 24])
    await client.close()
  })
})

describe('nobody else reads the log', () => {
  test.each(['/admin/audit-logs', '/admin/audit-logs/export'])('at %s', async (path) => {
    const ada = await person(server, 'ada')
    const asked = (token?: string) =>
      rest(server, 'GET', `/api/v1${path}`, token === undefined ? {} : { token })
    expect((await asked()).status).toBe(401)
    expect((await asked(ada.token)).body.code).toBe('forbidden')
    // And that she has tried is in it.
    const tries = async () =>
      (await auditTrail(server, 'access.denied')).filter(({ actor_id }) => actor_id === ada.id)
    await until(async () => (await tries()).length > 0, 'it is written down')
    expect(await tries()).toMatchObject([{ outcome: 'denied', after: { code: 'forbidden' } }])
  })
})

describe('an export', () => {
  test('is the chain in its order, with hashes', async () => {
    const positions: number[] = []
    let cursor = ''
    do {
      const { body } = await rest(
        server,
        'GET',
        `/api/v1/admin/audit-logs/export?limit=10${cursor}`,
        { token: admin.token },
      )
      for (const { position, hash, key_id } of body.items) {
        expect([hash, key_id]).toEqual([
          expect.stringMatching(/^[0-9a-f]{64}$/),
          expect.stringMatching(/^[0-9a-f]{8}$/),
        ])
        positions.push(position)
      }
      cursor = body.next_cursor === null ? '' : `&cursor=${body.next_cursor}`
    } while (cursor !== '')
    expect(positions.length).toBeGreaterThan(25)
    expect(positions).toEqual(Array.from(positions, (_, n) => n + 1))
    expect((await auditTrail(server, 'audit.exported')).length).toBeGreaterThan(2)
  })

  test('of no time is empty', async () => {
    const { body } = await rest(
      server,
      'GET',
      '/api/v1/admin/audit-logs/export?to=2001-01-01T00:00:00Z',
      {
        token: admin.token,
      },
    )
    expect(body).toEqual({ items: [], next_cursor: null })
  })
})
