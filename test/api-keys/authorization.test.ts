import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { newKey } from '../../src/api-keys/format.ts'
import { features } from '../../src/features.ts'
import { type Scope, SCOPES } from '../../src/kernel/access.ts'
import { createRegistry } from '../../src/kernel/feature.ts'
import type { Operation } from '../../src/kernel/operation.ts'
import { person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

/** Every operation of the product, and what keys of services may do with it. */

const { operations } = createRegistry(features)
const scopes = Object.keys(SCOPES) as Scope[]

let server: TestServer
/** A key for each set of scopes. */
const keys = new Map<string, string>()
beforeAll(async () => {
  server = await testServer()
  const { id } = await person(server)
  const sets = [scopes, ...scopes.map((scope) => scopes.filter((other) => other !== scope))]
  for (const set of sets) {
    const key = newKey()
    await server.database.db.sql`
      insert into api_keys (id, name, prefix, hash, scopes, created_by, created_at)
      values (${crypto.randomUUID()}, 'a service', ${key.prefix}, ${key.hash},
        ${`{${set.join(',')}}`}::text::text[], ${id}, now())`
    keys.set(set.join(), key.text)
  }
})
afterAll(() => server.stop())

const keyOf = (set: readonly Scope[]) => keys.get(set.join()) ?? 'none'

/** What became of each route: who asks is looked at before what is asked. */
async function tryAll({ routes }: Operation, key: string) {
  const id = crypto.randomUUID()
  const headers = { 'X-API-Key': key }
  const results = await Promise.all(
    routes.map(({ method, path }) => {
      const address = `/api/v1${path.replaceAll(/:\w+/g, id)}`
      const body = method === 'GET' || method === 'DELETE' ? {} : { body: {} }
      return rest(server, method, address, { headers, ...body })
    }),
  )
  return results.map(({ body }) => (body.code ?? 'ok') as string)
}

const scopeOf = ({ access }: Operation) => (access.kind === 'anyone' ? undefined : access.scope)
const closed = [...operations.values()].filter(
  ({ access, routes }) => access.kind !== 'anyone' && routes.length > 0,
)
const forPeople = closed.filter((operation) => scopeOf(operation) === undefined)
const forServices = closed.filter((operation) => scopeOf(operation) !== undefined)

describe('with every scope there is', () => {
  test.each(forPeople.map((operation) => [operation.name, operation] as const))(
    '%s is for people alone',
    async (_name, operation) => {
      const codes = await tryAll(operation, keyOf(scopes))
      expect([...new Set(codes)]).toEqual(['forbidden'])
    },
  )
})

describe('by its scope', () => {
  test.each(forServices.map((operation) => [operation.name, operation] as const))(
    '%s is open, and closed without it',
    async (_name, operation) => {
      const scope = scopeOf(operation) as Scope
      const lacking = scopes.filter((other) => other !== scope)
      expect([...new Set(await tryAll(operation, keyOf(lacking)))]).toEqual(['forbidden'])
      // What is wrong then is the input, or that there is no such thing.
      const open = await tryAll(operation, keyOf(scopes))
      for (const code of open) expect(code).not.toBeOneOf(['forbidden', 'unauthenticated'])
    },
  )
})

test('every scope opens something', () => {
  expect(new Set(forServices.map(scopeOf))).toEqual(new Set(scopes))
})

test('the list of scopes is the one that a key is made with', async () => {
  const { body } = await rest(server, 'GET', '/api-json')
  const { properties } = body.components.schemas.ApiKey
  expect(properties.scopes.items.enum).toEqual(scopes)
})
