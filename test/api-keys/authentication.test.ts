import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { Database } from '../../db/client.ts'
import { type KeyText, keyWith, newKey, readKey } from '../../src/api-keys/format.ts'
import { ApiKeys } from '../../src/api-keys/index.ts'
import { type TestClock, testClock } from '../../src/base/clock.ts'
import { Failure } from '../../src/base/errors.ts'
import type { ApiKeyActor, RequestInfo } from '../../src/kernel/access.ts'
import { type Kernel, serviceTable } from '../../src/kernel/kernel.ts'
import { LIMITS } from '../../src/kernel/limits.ts'
import { auditTrail } from '../support/audit.ts'
import { type TestKernel, testKernel } from '../support/kernel.ts'

/** Who a service is, and what finding that out costs. The clock stands still. */

let world: TestKernel
let clock: TestClock
let keys: ApiKeys
/** How often the database was asked. */
let asked = 0
beforeAll(async () => {
  clock = testClock(1_790_000_000_000)
  world = await testKernel({ features: [], clock })
  await world.database.db.sql`
    insert into users (id, email, username, roles)
    values (${OWNER}, 'a@example.org', 'a', '{user}')`
})
afterAll(() => world.close())
beforeEach(() => {
  // A server that has just started, so that nothing is known.
  const { db } = world.kernel
  const counting: Database = {
    ...db,
    read: (fn) => {
      asked++
      return db.read(fn)
    },
  }
  const fresh: Kernel = { ...world.kernel, db: counting, use: serviceTable(() => fresh) }
  keys = fresh.use(ApiKeys)
  asked = 0
})

const OWNER = '0198c0de-7a11-7000-8000-000000000001'
let hosts = 0
const from = (address = `203.0.113.${++hosts}`): RequestInfo => ({
  id: 'r',
  transport: 'rest',
  address,
  userAgent: undefined,
  connectionId: undefined,
})

async function insert(key: KeyText = newKey(), more: { expiresInMs?: number } = {}) {
  const id = crypto.randomUUID()
  const ends = more.expiresInMs === undefined ? null : new Date(clock.now() + more.expiresInMs)
  await world.database.db.sql`
    insert into api_keys (id, name, prefix, hash, scopes, created_by, created_at, expires_at)
    values (${id}, 'a service', ${key.prefix}, ${key.hash}, '{users:read,gone:away}', ${OWNER},
      ${clock.date()}, ${ends})`
  return { id, key: key.text }
}
const outcome = async (text: string, request = from()) => {
  try {
    return (await keys.authenticate(text, request)).keyId
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return error.code
  }
}

describe('a key that works', () => {
  test('is its service, with the scopes that this version knows', async () => {
    const { id, key } = await insert()
    expect(await keys.authenticate(key, from())).toEqual({
      kind: 'service',
      keyId: id,
      name: 'a service',
      scopes: ['users:read'],
    })
  })

  test('costs two lookups a second, however much it is used, and none in between', async () => {
    const { key } = await insert()
    await keys.authenticate(key, from())
    let waited = 0
    for (let ms = 0; ms < 3_000; ms += 10) {
      clock.advance(10)
      const who = keys.authenticate(key, from('203.0.113.1'))
      if (who instanceof Promise) {
        waited++
        await who
      }
    }
    expect(asked).toBe(1 + 6)
    expect(waited).toBe(6)
  })

  test('is looked up once when many ask at the same time', async () => {
    const { id, key } = await insert()
    const request = from()
    const answers = await Promise.all(Array.from({ length: 200 }, () => outcome(key, request)))
    expect(new Set(answers)).toEqual(new Set([id]))
    expect(asked).toBe(1)
  })

  test('is not believed for longer than half a second', async () => {
    const { id, key } = await insert()
    expect(await outcome(key)).toBe(id)
    await world.database.db.sql`update api_keys set revoked_at = now() where id = ${id}`
    clock.advance(499)
    expect(await outcome(key)).toBe(id)
    clock.advance(1)
    expect(await outcome(key)).toBe('unauthenticated')
  })

  test('ends at its very time, also when it was just looked up', async () => {
    const { id, key } = await insert(newKey(), { expiresInMs: 100 })
    expect(await outcome(key)).toBe(id)
    clock.advance(99)
    expect(await outcome(key)).toBe(id)
    clock.advance(1)
    expect(await outcome(key)).toBe('unauthenticated')
  })

  test('is no key any more when the database is away for half a second', async () => {
    const { id, key } = await insert()
    expect(await outcome(key)).toBe(id)
    const owner = new Bun.SQL({ url: world.database.ownerUrl, max: 1 })
    await owner`alter table api_keys rename to gone`
    try {
      clock.advance(499)
      expect(await outcome(key)).toBe(id)
      clock.advance(1)
      await expect(outcome(key)).rejects.toThrow()
    } finally {
      await owner`alter table gone rename to api_keys`
      await owner.close()
    }
    expect(await outcome(key)).toBe(id)
  })
})

describe('a key that does not work', () => {
  test('is refused without the database when it is none by its form', async () => {
    const { text } = newKey()
    for (const wrong of ['', text.slice(1), text.toUpperCase(), `${text}0`, ` ${text}`]) {
      expect(await outcome(wrong)).toBe('unauthenticated')
    }
    expect(asked).toBe(0)
  })

  test('is asked about once a minute', async () => {
    const { text } = newKey()
    const request = from()
    for (let i = 0; i < 100; i++) {
      clock.advance(500)
      expect(await outcome(text, request)).toBe('unauthenticated')
    }
    expect(asked).toBe(1)
    clock.advance(60_000)
    await outcome(text, request)
    expect(asked).toBe(2)
  })

  test('and others like it use up an address, and only their own', async () => {
    const request = from('2001:db8:1::1')
    const { burst } = LIMITS.api_key_address
    const codes = await Promise.all(
      Array.from({ length: burst + 20 }, () => outcome(newKey().text, request)),
    )
    expect(codes.filter((code) => code === 'unauthenticated')).toHaveLength(burst)
    expect(codes.filter((code) => code === 'rate_limited')).toHaveLength(20)
    expect(asked).toBe(burst)
    const { id, key } = await insert()
    // A neighbour of the same network waits; somebody else does not.
    expect(await outcome(key, from('2001:db8:1::2'))).toBe('rate_limited')
    expect(await outcome(key)).toBe(id)
    // Once it is known, the address is no matter.
    clock.advance(500)
    expect(await outcome(key, request)).toBe(id)
  })

  test('tells why only to whoever has the right secret', async () => {
    const key = newKey()
    const { id } = await insert(key)
    await world.database.db.sql`update api_keys set revoked_at = now() where id = ${id}`
    const message = async (text: string) => {
      try {
        await keys.authenticate(text, from())
      } catch (error) {
        return (error as Failure).message
      }
      return 'let in'
    }
    expect(await message(key.text)).toBe('This API key is revoked')
    const other = keyWith(key.prefix)
    expect(await message(other.text)).toBe('This API key is not valid')
    expect(await message(newKey().text)).toBe('This API key is not valid')
    const lines = await auditTrail(world, 'api_keys.refused')
    const ofThis = lines.filter(({ target_id }) => target_id === id)
    expect(ofThis.map(({ after }) => after.why)).toEqual(['revoked', 'wrong_secret'])
  })
})

describe('the form of a key', () => {
  test('is read as it was made', () => {
    for (let i = 0; i < 100; i++) {
      const key = newKey()
      expect(readKey(key.text)).toEqual(key)
      expect(key.text).toMatch(/^rialto_[0-9a-f]{16}_[0-9a-f]{72}$/)
    }
  })

  test('shows any mistake in typing', () => {
    const key = newKey().text
    const digit = fc.nat(15).map((n) => n.toString(16))
    fc.assert(
      fc.property(fc.nat(key.length - 1), digit, (at, by) => {
        const changed = key.slice(0, at) + by + key.slice(at + 1)
        expect(readKey(changed) === undefined).toBe(changed !== key)
      }),
    )
  })

  test('keeps its name when it gets a new secret', () => {
    const key = newKey()
    const next = keyWith(key.prefix)
    expect(next.prefix).toBe(key.prefix)
    expect(next.text).not.toBe(key.text)
    expect(next.hash.equals(key.hash)).toBe(false)
  })
})

test('a caller is a service and nothing else', async () => {
  const { key } = await insert()
  const caller: ApiKeyActor = await keys.authenticate(key, from())
  expect(Object.keys(caller).toSorted()).toEqual(['keyId', 'kind', 'name', 'scopes'])
})
