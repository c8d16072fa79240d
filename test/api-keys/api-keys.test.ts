import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { forgetKeys } from '../../src/api-keys/index.ts'
import type { StepUp } from '../../src/kernel/step-up.ts'
import { auditTrail } from '../support/audit.ts'
import { restWithFactor } from '../support/mfa.ts'
import { administrator, type Body, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** Keys of services, from their making to their end, over REST on two instances. */

let here: TestServer
let there: TestServer
let admin: Person
beforeAll(async () => {
  here = await testServer()
  there = await testServer({ database: here.database })
  for (const server of [here, there]) withoutStepUp(server)
  admin = await administrator(here)
})
afterAll(async () => {
  await there.stop()
  await here.stop()
})

/** Most of this is not about the fresh second factor. */
let realStepUp: StepUp['require'] | undefined
function withoutStepUp({ stepUp }: TestServer) {
  realStepUp ??= stepUp.require
  stepUp.require = () => Promise.resolve()
}

const KEYS = '/api/v1/admin/api-keys'
const asAdmin = (method: string, path: string, body?: object, headers = {}) =>
  rest(here, method, path, { token: admin.token, headers, ...(body === undefined ? {} : { body }) })
const withKey = (key: string, path: string, at = here, method = 'GET', body?: object) =>
  rest(at, method, path, {
    headers: { 'X-API-Key': key },
    ...(body === undefined ? {} : { body }),
  })

let count = 0
async function make(scopes: string[], more: object = {}): Promise<{ key: string; api_key: Body }> {
  const body = { name: `service ${++count}`, scopes, ...more }
  const made = await asAdmin('POST', KEYS, body)
  expect(made.status).toBe(201)
  return made.body as { key: string; api_key: Body }
}

describe('a key', () => {
  test('opens what its scopes name, and nothing else', async () => {
    const { key } = await make(['users:read'])
    expect((await withKey(key, '/api/v1/users')).status).toBe(200)
    expect((await withKey(key, `/api/v1/users/${admin.id}`)).body.id).toBe(admin.id)
    const account = { email: 'made@example.org', password: 'a long password' }
    const beyond = await withKey(key, '/api/v1/users', here, 'POST', account)
    expect(beyond.status).toBe(403)
    expect(beyond.body).toMatchObject({ code: 'forbidden' })
    expect(beyond.body.detail).toContain('users:write')
    // Neither what is a person's own nor what is for administrators.
    for (const path of ['/api/v1/auth/me', KEYS, '/api/v1/auth/sessions']) {
      expect((await withKey(key, path)).body).toMatchObject({ status: 403, code: 'forbidden' })
    }
  })

  test('makes accounts, as a service in the audit log, but none with power', async () => {
    const { key, api_key } = await make(['users:write'])
    const account = { email: 'by-service@example.org', password: 'a long password' }
    const made = await withKey(key, '/api/v1/users', here, 'POST', account)
    expect(made.status).toBe(201)
    const lines = await auditTrail(here, 'users.created')
    expect(lines.at(-1)).toMatchObject({
      actor_kind: 'service',
      actor_id: api_key.id,
      session_id: null,
      target_id: made.body.id,
    })
    for (const role of ['admin', 'manager']) {
      const body = { ...account, email: `${role}-2@example.org`, roles: ['user', role] }
      expect((await withKey(key, '/api/v1/users', here, 'POST', body)).status).toBe(403)
    }
  })

  test('is shown once, and stands nowhere in the database', async () => {
    const { key, api_key } = await make(['users:read'])
    expect(key).toMatch(/^rialto_[0-9a-f]{16}_[0-9a-f]{72}$/)
    expect(key.startsWith(`${api_key.prefix}_`)).toBe(true)
    const secret = key.slice(24)
    const { sql } = here.database.db
    const rows = await sql`select k::text as row from api_keys k`
    const lines = await sql`select l::text as row from audit_pending l`
    const answers = await sql`select i::text as row from idempotency i`
    for (const { row } of [...rows, ...lines, ...answers]) expect(row).not.toContain(secret)
    expect(JSON.stringify((await asAdmin('GET', KEYS)).body)).not.toContain(secret)
  })

  test('made twice under one idempotency key is one, and its secret is not repeated', async () => {
    const headers = { 'Idempotency-Key': 'make me once' }
    const body = { name: 'once', scopes: ['users:read'] }
    const first = await asAdmin('POST', KEYS, body, headers)
    const second = await asAdmin('POST', KEYS, body, headers)
    expect([first.status, second.status]).toEqual([201, 201])
    expect(second.headers.get('idempotent-replayed')).toBe('true')
    expect(second.body).toEqual({ api_key: first.body.api_key, key: null })
    expect(first.body.key).toBeString()
  })

  test('needs a fresh second factor to be made or rotated, none to be ended', async () => {
    const { stepUp } = here
    const { require: stub } = stepUp
    if (realStepUp !== undefined) stepUp.require = realStepUp
    try {
      const body = { name: 'with a factor', scopes: ['users:read'] }
      expect((await asAdmin('POST', KEYS, body)).body.code).toBe('step_up_required')
      const made = await restWithFactor(here, 'POST', KEYS, { as: admin, body })
      expect(made.status).toBe(201)
      const path = `${KEYS}/${made.body.api_key.id}`
      expect((await asAdmin('POST', `${path}/rotate`, {})).body.code).toBe('step_up_required')
      const rotated = await restWithFactor(here, 'POST', `${path}/rotate`, { as: admin, body: {} })
      expect(rotated.status).toBe(200)
      expect((await asAdmin('DELETE', path)).body.state).toBe('revoked')
    } finally {
      stepUp.require = stub
    }
  })

  test('is refused with a sentence when it is made wrongly', async () => {
    const wrong: [object, string][] = [
      [{ name: '', scopes: ['users:read'] }, '/name'],
      [{ name: 'x', scopes: [] }, '/scopes'],
      [{ name: 'x', scopes: ['users:read', 'users:read'] }, '/scopes'],
      [{ name: 'x', scopes: ['everything'] }, '/scopes/0'],
      [{ name: 'x', scopes: 'users:read' }, '/scopes'],
      [{ name: 'x', scopes: ['users:read'], expires_at: 'soon' }, '/expires_at'],
      [{ name: 'x', scopes: ['users:read'], expires_at: '2020-01-01T00:00:00Z' }, '/expires_at'],
      [{ name: 'x', scopes: ['users:read'], key: 'mine' }, '/key'],
      [{ name: 'a\nb', scopes: ['users:read'] }, '/name'],
      [{ scopes: ['users:read'] }, '/name'],
    ]
    for (const [body, path] of wrong) {
      const { status, body: problem } = await asAdmin('POST', KEYS, body)
      expect([body, status, problem.errors?.[0]?.path]).toEqual([body, 422, path])
    }
  })
})

describe('what is no key', () => {
  const nonsense: [string, string][] = [
    ['nothing', ''],
    ['a word', 'key'],
    ['half a key', 'rialto_0123456789abcdef_'],
    ['a wrong checksum', `rialto_${'0'.repeat(16)}_${'0'.repeat(72)}`],
    ['a long text', 'r'.repeat(10_000)],
  ]
  test.each(nonsense)('%s is refused', async (_what, key) => {
    const { status, body } = await withKey(key, '/api/v1/users')
    expect([status, body.code]).toEqual([401, 'unauthenticated'])
  })

  test('a key with another secret and the right checksum is refused, and audited', async () => {
    const { key, api_key } = await make(['users:read'])
    const body = `${key.slice(0, 24)}${'0'.repeat(64)}`
    const forged = body + Bun.hash.crc32(body).toString(16).padStart(8, '0')
    for (let i = 0; i < 3; i++) expect((await withKey(forged, '/api/v1/users')).status).toBe(401)
    const lines = await auditTrail(here, 'api_keys.refused')
    // The second and third were known to be none.
    expect(lines.map(({ target_id, after }) => [target_id, after.why])).toEqual([
      [api_key.id, 'wrong_secret'],
    ])
    expect((await withKey(key, '/api/v1/users')).status).toBe(200)
  })

  test('a token and a key together are refused, and so are two keys', async () => {
    const { key } = await make(['users:read'])
    const both = await rest(here, 'GET', '/api/v1/users', {
      token: admin.token,
      headers: { 'X-API-Key': key },
    })
    expect([both.status, both.body.code]).toEqual([400, 'bad_request'])
    const headers = new Headers([
      ['x-api-key', key],
      ['x-api-key', key],
    ])
    expect((await fetch(`${here.url}/api/v1/users`, { headers })).status).toBe(401)
  })

  test('neither socket nor address takes a key', async () => {
    const { key } = await make(['users:read'])
    expect((await rest(here, 'GET', `/api/v1/users?api_key=${key}`)).status).toBe(401)
    const bearer = await rest(here, 'GET', '/api/v1/users', { token: key })
    expect(bearer.status).toBe(401)
    const socket = new WebSocket(here.wsUrl, { headers: { 'X-API-Key': key } } as never)
    const { promise, resolve } = Promise.withResolvers<string>()
    socket.onopen = () => socket.send(JSON.stringify({ type: 'users.list', id: '1', payload: {} }))
    socket.onmessage = ({ data }) => {
      if (String(data).includes('unauthenticated')) resolve(String(data))
    }
    expect(await promise).toContain('unauthenticated')
    socket.close()
  })
})

describe('the end of a key', () => {
  test('bites within a second on every instance', async () => {
    const { key, api_key } = await make(['users:read'])
    const stop = { asked: false }
    // In use all the time, so that both instances have it at hand.
    const load = [here, there].map(async (at) => {
      while (!stop.asked) await withKey(key, '/api/v1/users?limit=1', at)
    })
    for (const at of [here, there])
      expect((await withKey(key, '/api/v1/users', at)).status).toBe(200)
    expect((await asAdmin('DELETE', `${KEYS}/${api_key.id}`)).body.state).toBe('revoked')
    const startMs = performance.now()
    for (const at of [here, there]) {
      await until(
        async () => (await withKey(key, '/api/v1/users?limit=1', at)).status === 401,
        'refused',
      )
    }
    // The promise, and what a busy machine adds.
    expect(performance.now() - startMs).toBeLessThan(1_500)
    stop.asked = true
    await Promise.all(load)
    const { body } = await withKey(key, '/api/v1/users', there)
    expect(body).toMatchObject({ status: 401, code: 'unauthenticated' })
  })

  test('is final, and asked for twice changes nothing', async () => {
    const { api_key } = await make(['users:read'])
    const path = `${KEYS}/${api_key.id}`
    const first = await asAdmin('DELETE', path)
    const second = await asAdmin('DELETE', path)
    expect(second.body).toEqual(first.body)
    const lines = await auditTrail(here, 'api_keys.revoked')
    expect(lines.filter(({ target_id }) => target_id === api_key.id)).toHaveLength(1)
    expect((await asAdmin('POST', `${path}/rotate`, {})).body.code).toBe('conflict')
    const nobody = `${KEYS}/${crypto.randomUUID()}`
    expect((await asAdmin('DELETE', nobody)).status).toBe(404)
    expect((await asAdmin('POST', `${nobody}/rotate`, {})).status).toBe(404)
    expect((await asAdmin('DELETE', `${KEYS}/nonsense`)).status).toBe(422)
  })

  test('comes at its time', async () => {
    const { key, api_key } = await make(['users:read'], {
      expires_at: new Date(here.kernel.clock.now() + 3_600_000).toISOString(),
    })
    expect((await withKey(key, '/api/v1/users')).status).toBe(200)
    await here.database.db.sql`
      update api_keys set expires_at = now() - interval '1 second' where id = ${api_key.id}`
    await until(async () => (await withKey(key, '/api/v1/users')).status === 401, 'expired')
    const listed = (await asAdmin('GET', KEYS)).body.items as Body[]
    expect(listed.find(({ id }) => id === api_key.id)?.state).toBe('expired')
    expect((await asAdmin('POST', `${KEYS}/${api_key.id}/rotate`, {})).body.code).toBe('conflict')
  })

  test('is forgotten 400 days later', async () => {
    const { sql } = here.database.db
    const { api_key: old } = await make(['users:read'])
    const { api_key: young } = await make(['users:read'])
    await sql`
      update api_keys set revoked_at = now() - interval '401 days' where id = ${old.id}`
    await sql`
      update api_keys set revoked_at = now() - interval '399 days' where id = ${young.id}`
    expect(await forgetKeys.run(here.kernel)).toEqual({ api_keys: 1 })
    const left = await sql`select id from api_keys where id in (${old.id}, ${young.id})`
    expect(left.map(({ id }: { id: string }) => id)).toEqual([young.id])
  })
})

/** How often each status came. */
function counts(statuses: readonly number[]): Record<number, number> {
  const found: Record<number, number> = {}
  for (const status of statuses) found[status] = (found[status] ?? 0) + 1
  return found
}

describe('rotation', () => {
  test('lets the old secret work for the overlap, on every instance', async () => {
    const { key: old, api_key } = await make(['users:read'])
    expect((await withKey(old, '/api/v1/users', there)).status).toBe(200)
    const path = `${KEYS}/${api_key.id}/rotate`
    const { body } = await asAdmin('POST', path, { overlap_seconds: 3_600 })
    expect(body.api_key).toMatchObject({ id: api_key.id, prefix: api_key.prefix, state: 'active' })
    expect(body.api_key.previous_until).toBeString()
    for (const key of [old, body.key]) {
      for (const at of [here, there]) {
        expect((await withKey(key, '/api/v1/users', at)).status).toBe(200)
      }
    }
    // A third secret would silently end the first.
    expect((await asAdmin('POST', path, {})).body.code).toBe('conflict')
    await here.database.db.sql`
      update api_keys set previous_until = now() - interval '1 second' where id = ${api_key.id}`
    await until(async () => (await withKey(old, '/api/v1/users')).status === 401, 'replaced')
    expect((await withKey(body.key, '/api/v1/users')).status).toBe(200)
  })

  test('without overlap ends every older secret within a second', async () => {
    const { key: first, api_key } = await make(['users:read'])
    const path = `${KEYS}/${api_key.id}/rotate`
    const second = (await asAdmin('POST', path, {})).body.key as string
    const third = (await asAdmin('POST', path, { overlap_seconds: 0 })).body
    expect(third.api_key.previous_until).toBeNull()
    for (const key of [first, second]) {
      const tookMs = await until(
        async () => (await withKey(key, '/api/v1/users', there)).status === 401,
        'ended',
      )
      expect(tookMs).toBeLessThan(1_500)
    }
    expect((await withKey(third.key, '/api/v1/users', there)).status).toBe(200)
  })

  test('of ten at once lets one through, or each end those before it', async () => {
    const { api_key } = await make(['users:read'])
    const path = `${KEYS}/${api_key.id}/rotate`
    const gentle = await Promise.all(Array.from({ length: 10 }, () => asAdmin('POST', path, {})))
    expect(counts(gentle.map(({ status }) => status))).toEqual({ 200: 1, 409: 9 })
    const hard = await Promise.all(
      Array.from({ length: 10 }, () => asAdmin('POST', path, { overlap_seconds: 0 })),
    )
    const works = await Promise.all(
      hard.map(async ({ body }) => (await withKey(body.key, '/api/v1/users')).status),
    )
    expect(counts(works)).toEqual({ 200: 1, 401: 9 })
  })
})

describe('the list', () => {
  test('shows when and from where a key was used, written once a minute', async () => {
    const { key, api_key } = await make(['users:read'])
    const { sql } = here.database.db
    for (let i = 0; i < 5; i++) await withKey(key, '/api/v1/users')
    const [row] = await sql`select *, xmin from api_keys where id = ${api_key.id}`
    expect(row.last_used_address).toBe('127.0.0.1')
    await Bun.sleep(600)
    await withKey(key, '/api/v1/users')
    const [later] = await sql`select *, xmin from api_keys where id = ${api_key.id}`
    expect(later.xmin).toBe(row.xmin)
    await sql`
      update api_keys set last_used_at = now() - interval '61 seconds' where id = ${api_key.id}`
    await Bun.sleep(600)
    await withKey(key, '/api/v1/users')
    const [again] = await sql`select now() - last_used_at < '30 s' as fresh from api_keys
      where id = ${api_key.id}`
    expect(again.fresh).toBe(true)
  })

  test('is paged, newest first', async () => {
    const all: string[] = []
    let cursor: string | null = null
    do {
      const query: string = cursor === null ? '' : `&cursor=${cursor}`
      const { body } = await asAdmin('GET', `${KEYS}?limit=3${query}`)
      all.push(...(body.items as Body[]).map(({ id }) => id as string))
      cursor = body.next_cursor as string | null
    } while (cursor !== null)
    expect(all).toEqual([...new Set(all)].toSorted().toReversed())
    expect((await asAdmin('GET', `${KEYS}?cursor=nonsense`)).status).toBe(422)
  })

  test('and all the rest is for administrators with a second factor', async () => {
    const ada = await person(here, 'ada')
    expect((await rest(here, 'GET', KEYS, { token: ada.token })).body.code).toBe('forbidden')
    expect((await rest(here, 'GET', KEYS)).status).toBe(401)
  })
})
