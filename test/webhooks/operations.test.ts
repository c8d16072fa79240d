import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { placeOf } from '../../src/vault/vault.ts'
import { auditTrail } from '../support/audit.ts'
import { giveFactor } from '../support/factor.ts'
import { restWithFactor } from '../support/mfa.ts'
import { administrator, type Body, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { makeService, type Service } from './setup.ts'

/** Who may do what with webhooks, on a server that sends to the public internet alone. */

let server: TestServer
let admin: Person
let one: Service
let other: Service
beforeAll(async () => {
  server = await testServer()
  admin = await administrator(server)
  await giveFactor(server.kernel, admin.id)
  one = await makeService(server, admin.id)
  other = await makeService(server, admin.id)
})
afterAll(() => server.stop())

const URL_ = 'https://hooks.example.org/rialto?tenant=7'
const asAdmin = (method: string, path = '', body?: object) =>
  restWithFactor(server, method, `/api/v1/webhooks${path}`, { as: admin, body })
const everyCall = (id: string, delivery = id): [string, string, object?][] => [
  ['GET', `/${id}`],
  ['PUT', `/${id}`, { description: 'mine now' }],
  ['PUT', `/${id}`, { url: 'https://mallory.example.org/' }],
  ['POST', `/${id}/rotate-secret`, {}],
  ['POST', `/${id}/test`, {}],
  ['POST', `/${id}/replay`, { offset: 0 }],
  ['GET', `/${id}/deliveries`],
  ['POST', `/${id}/deliveries/${delivery}/retry`, {}],
  ['DELETE', `/${id}`],
]

describe('a service', () => {
  test('has webhooks of its own, which another does not even see', async () => {
    const { id } = await one.create({ url: URL_, description: 'ours' })
    const before = await one.get(id)
    for (const [method, path, body] of everyCall(id)) {
      const { status, body: answer } = await other.call(method, path, body)
      expect([method, path, status, answer['code']]).toEqual([method, path, 404, 'not_found'])
    }
    expect((await other.call('GET')).body).toEqual({ items: [], next_cursor: null })
    expect(await one.get(id)).toEqual(before)
  })

  test('needs the scope', async () => {
    const reader = await makeService(server, admin.id, ['users:read'])
    for (const [method, path, body] of [['GET', ''] as const, ...everyCall(admin.id)]) {
      expect((await reader.call(method, path, body)).body['code']).toBe('forbidden')
    }
  })

  test('reaches deliveries of its own webhooks alone', async () => {
    const mine = await one.create({ url: URL_ })
    const others = await other.create({ url: 'https://hooks.invalid/' })
    const { body } = await other.call('POST', `/${others.id}/test`, {})
    const path = `/${mine.id}/deliveries/${body['id']}/retry`
    expect((await one.call('POST', path, {})).status).toBe(404)
  })

  test('has ten at most, also when it asks for many at once', async () => {
    const many = await makeService(server, admin.id)
    const answers = await Promise.all(
      Array.from({ length: 25 }, () => many.call('POST', '', { url: URL_ })),
    )
    const made = answers.filter(({ status }) => status === 201)
    const refused = answers.filter(({ status }) => status === 409)
    expect([made.length, refused.length]).toEqual([10, 15])
    await many.call('DELETE', `/${made[0]!.body['webhook'].id}`)
    expect((await many.call('POST', '', { url: URL_ })).status).toBe(201)
  })
})

describe('an administrator', () => {
  test('sees all webhooks; a fresh factor is asked where data or secrets go out', async () => {
    const { id } = await one.create({ url: URL_ })
    const plain = (method: string, path: string, body?: object) =>
      rest(server, method, `/api/v1/webhooks${path}`, {
        token: admin.token,
        ...(body === undefined ? {} : { body }),
      })
    expect((await plain('GET', `/${id}`)).body).toMatchObject({ key_id: one.keyId })
    expect((await plain('PUT', `/${id}`, { description: 'seen' })).status).toBe(200)
    for (const [path, body] of [
      ['', { url: URL_ }],
      [`/${id}/rotate-secret`, {}],
    ] as const) {
      expect((await plain('POST', path, body)).body['code']).toBe('step_up_required')
    }
    const elsewhere = { url: 'https://other.example.org/' }
    expect((await plain('PUT', `/${id}`, elsewhere)).body['code']).toBe('step_up_required')
    expect((await asAdmin('PUT', `/${id}`, elsewhere)).body).toMatchObject(elsewhere)
    const made = await asAdmin('POST', '', { url: URL_ })
    expect(made.body).toMatchObject({ webhook: { key_id: null, state: 'active' } })
    // What is the administrators' is nobody else's.
    expect((await one.call('GET', `/${made.body['webhook'].id}`)).status).toBe(404)
  })

  test('is no other user', async () => {
    const { token } = await person(server)
    for (const [method, path, body] of [['GET', ''] as const, ...everyCall(admin.id)]) {
      const options = { token, ...(body === undefined ? {} : { body }) }
      const answer = await rest(server, method, `/api/v1/webhooks${path}`, options)
      expect(answer.body['code']).toBe('forbidden')
    }
  })
})

describe('a secret', () => {
  test('is shown once, of 256 bits, and lies sealed in its row', async () => {
    const { id, secret } = await one.create({ url: URL_ })
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    const bytes = Buffer.from(secret.slice(6), 'base64')
    const texts = [await one.get(id), (await one.call('GET')).body].map((b) => JSON.stringify(b))
    expect(texts.filter((text) => text.includes('whsec') || text.includes(secret))).toEqual([])
    const { db, vault } = server.kernel
    const [row] = await db.sql`select secret from webhook_endpoints where id = ${id}`
    expect(Buffer.from(row.secret).includes(bytes)).toBe(false)
    expect(vault.open(placeOf('webhook_endpoints', 'secret', id), row.secret)).toEqual(bytes)
    expect(() => vault.open(placeOf('webhook_endpoints', 'secret', one.keyId), row.secret)).toThrow(
      'Changed, or sealed for another place',
    )
  })

  test('is not in the answer of a repeated request', async () => {
    const twice = (path: string, body: object) =>
      [1, 2].map(() => one.call('POST', path, body, { 'Idempotency-Key': `the same${path}` }))
    const made = await Promise.all(twice('', { url: URL_, description: 'twice' }))
    const secrets = made.map(({ body }) => body['secret'] as string | null)
    expect(secrets.filter((secret) => secret === null)).toHaveLength(1)
    expect(secrets).toContainEqual(expect.stringMatching(/^whsec_/))
    const { id } = made[0]!.body['webhook']
    expect(made[1]!.body['webhook'].id).toBe(id)
    const rotated = await Promise.all(twice(`/${id}/rotate-secret`, {}))
    expect(rotated.map(({ body }) => body['secret']).filter(Boolean)).toHaveLength(1)
    const rows = await server.kernel.db.sql`select answer from idempotency`
    expect(JSON.stringify(rows)).not.toContain('whsec')
  })
})

describe('what is said of a webhook', () => {
  const refused = async (body: object) => {
    const { status, body: answer } = await one.call('POST', '', body)
    expect([status, answer['code']]).toEqual([422, 'validation_failed'])
    return (answer['errors'] as Body[])[0]
  }

  test.each([
    ['http://hooks.example.org/', 'Must begin with https://'],
    ['ftp://hooks.example.org/', 'Must begin with https://'],
    ['javascript:alert(1)', 'Must begin with https://'],
    ['https://user:word@hooks.example.org/', 'Must not hold a user name or password'],
    ['https://hooks.example.org/#here', 'Must not hold a fragment'],
    ['https://hooks.example.org:22/', 'Must use port 443, or one from 1024 on'],
    ['https://127.0.0.1/', 'Must not lead into a private network'],
    ['https://[::1]/', 'Must not lead into a private network'],
    ['https://169.254.169.254/latest/meta-data', 'Must not lead into a private network'],
    ['https://0x7f000001/', 'Must not lead into a private network'],
    ['https://017700000001/', 'Must not lead into a private network'],
    ['https://[::ffff:10.0.0.1]/', 'Must not lead into a private network'],
  ])('cannot be %s', async (url, message) => {
    expect(await refused({ url })).toEqual({ path: '/url', message })
  })

  test.each([
    [{}],
    [{ url: 'hooks' }],
    [{ url: 7 }],
    [{ url: `https://hooks.example.org/${'x'.repeat(2_048)}` }],
    [{ url: URL_, events: ['user.registered', 'no.such'] }],
    [{ url: URL_, events: ['webhook.disabled', 'webhook.disabled'] }],
    [{ url: URL_, events: Array.from({ length: 51 }, (_, n) => `type.${n}`) }],
    [{ url: URL_, parallel: 0 }],
    [{ url: URL_, parallel: 17 }],
    [{ url: URL_, parallel: 1.5 }],
    [{ url: URL_, description: 'x'.repeat(201) }],
    [{ url: URL_, description: 'a\nb' }],
    [{ url: URL_, secret: 'whsec_mine' }],
    [{ url: URL_, key_id: 'somebody' }],
    [{ url: URL_, state: 'disabled' }],
  ])('cannot be %j', async (body) => {
    await refused(body)
  })

  test('is kept, changed and forgotten; the audit log says so without the address', async () => {
    const { id, webhook } = await one.create({ url: URL_, events: ['webhook.disabled'] })
    expect(webhook).toMatchObject({
      url: URL_,
      events: ['webhook.disabled'],
      parallel: 1,
      state: 'active',
      missed: 0,
      failing_since: null,
    })
    const change = { events: [], parallel: 3, description: 'all of it', state: 'paused' }
    expect((await one.call('PUT', `/${id}`, change)).body).toMatchObject(change)
    expect((await one.call('PUT', `/${id}`, { state: 'disabled' })).status).toBe(422)
    expect((await one.call('PUT', `/${id}`, { url: 'https://10.0.0.1/' })).status).toBe(422)
    expect(await one.get(id)).toMatchObject({ ...change, url: URL_ })
    expect((await one.call('DELETE', `/${id}`)).status).toBe(200)
    expect((await one.call('DELETE', `/${id}`)).status).toBe(404)
    const trail = (await auditTrail(server, 'webhooks.')).filter(
      ({ target_id }) => target_id === id,
    )
    expect(trail.map(({ action, actor_kind, actor_id }) => [action, actor_kind, actor_id])).toEqual(
      [
        ['webhooks.created', 'service', one.keyId],
        ['webhooks.updated', 'service', one.keyId],
        ['webhooks.deleted', 'service', one.keyId],
      ],
    )
    expect(JSON.stringify(trail)).not.toContain('tenant')
  })

  test('is listed by pages, the newest first', async () => {
    const many = await makeService(server, admin.id)
    const ids: string[] = []
    for (let n = 0; n < 5; n++) ids.unshift((await many.create({ url: URL_ })).id)
    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null;) {
      const query: string = cursor === '' ? '?limit=2' : `?limit=2&cursor=${cursor}`
      const { body } = await many.call('GET', query)
      seen.push(...(body['items'] as Body[]).map((item) => item['id'] as string))
      cursor = body['next_cursor'] as string | null
    }
    expect(seen).toEqual(ids)
    expect((await many.call('GET', '?cursor=nonsense')).status).toBe(422)
    const path = `/${ids[0]}/deliveries`
    expect((await many.call('GET', `${path}?cursor=nonsense`)).status).toBe(422)
    expect((await many.call('GET', `${path}?state=lost`)).status).toBe(422)
  })
})

test('the types of events are listed with what they say', async () => {
  const { body } = await one.call('GET', '/event-types')
  const disabled = (body['items'] as Body[]).find(({ type }) => type === 'webhook.disabled')
  expect(disabled).toMatchObject({
    description: expect.any(String),
    data: { type: 'object', required: ['webhook_id', 'because'] },
  })
})
