import { Validator } from '@seriousme/openapi-schema-validator'
import { describe, expect, test } from 'bun:test'
import { input, t } from '../../src/base/schema.ts'
import { features } from '../../src/features.ts'
import { openApi, refusalStatuses } from '../../src/http/openapi.ts'
import { user } from '../../src/kernel/access.ts'
import { createRegistry, feature, type Registry } from '../../src/kernel/feature.ts'
import { type Operation, operation } from '../../src/kernel/operation.ts'
import { sampleFeature } from './sample-feature.ts'
import { startHttp } from './support.ts'

/** The parts of a document that are looked at here. */
interface Document {
  paths: Record<string, Record<string, Entry>>
  components: { schemas: Record<string, unknown>; responses: Record<string, unknown> }
}
interface Entry {
  operationId: string
  tags: string[]
  security: object[]
  parameters: { name: string; in: string; required: boolean; schema: object; $ref?: string }[]
  requestBody?: {
    required: boolean
    content: Record<string, { schema: Record<string, unknown>; example?: object }>
  }
  responses: Record<string, { content?: Record<string, { schema: unknown }> }>
  'x-alias-of'?: string
}

const documentOf = (registry: Registry) =>
  JSON.parse(JSON.stringify(openApi(registry, '1.2.3'))) as Document
const sample = documentOf(createRegistry([sampleFeature]))
const entry = (path: string, method: string) => sample.paths[path]?.[method] as Entry

/** Undefined when there are none. */
async function mistakesOf(document: Document) {
  const { valid, errors } = await new Validator().validate({ ...structuredClone(document) })
  return valid ? undefined : errors
}

describe.each([
  ['the sample', createRegistry([sampleFeature])],
  ['the product', createRegistry(features)],
])('the document of %s', (_, registry) => {
  const document = documentOf(registry)

  test('is valid OpenAPI 3.1', async () => {
    expect(await mistakesOf(document)).toBeUndefined()
  })

  test('has every route of every operation, and nothing else', () => {
    const described = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, each]) => {
        const name = each['x-alias-of'] ?? each.operationId
        return `${method.toUpperCase()} ${path} ${name} ${each.tags.join()}`
      }),
    )
    const mounted = registry.features.flatMap(({ name, operations }) =>
      operations.flatMap((each) =>
        each.routes.map(({ method, path }) => {
          const template = path.replaceAll(/:(\w+)/g, '{$1}')
          return `${method} ${template} ${each.name} ${name}`
        }),
      ),
    )
    expect(described.toSorted()).toEqual(mounted.toSorted())
  })

  test('asks for a token or a key exactly where the operation does', () => {
    const wanted = ({ access }: Operation) => {
      switch (access.kind) {
        case 'anyone':
          return []
        case 'service':
          return [{ apiKey: [access.scope] }]
        case 'user':
          return [{ bearer: [] }, ...(access.scope ? [{ apiKey: [access.scope] }] : [])]
      }
    }
    for (const item of Object.values(document.paths)) {
      for (const each of Object.values(item)) {
        const operation = registry.operations.get(each['x-alias-of'] ?? each.operationId)!
        expect(each.security).toEqual(wanted(operation))
      }
    }
  })

  test('refers to nothing that is not there', () => {
    for (const [, path] of JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const step = (at: unknown, name: string) =>
        (at as Record<string, unknown> | undefined)?.[name]
      const found = path!.split('/').reduce(step, document as unknown)
      expect([path, typeof found]).toEqual([path!, 'object'])
    }
  })

  test('shows only examples that the operation takes', () => {
    for (const item of Object.values(document.paths)) {
      for (const [method, each] of Object.entries(item)) {
        const example = each.requestBody?.content['application/json']?.example
        if (example === undefined || each.parameters.some((p) => p.in === 'path')) continue
        const called = registry.operations.get(each['x-alias-of'] ?? each.operationId)!
        expect([method, called.validInput.errors(example)]).toEqual([method, []])
      }
    }
  })
})

describe('an operation in the document', () => {
  test('of a GET: path and query parameters, no body', () => {
    const { parameters, requestBody } = entry('/pools', 'get')
    expect(requestBody).toBeUndefined()
    expect(parameters.find(({ name }) => name === 'limit')).toEqual({
      name: 'limit',
      in: 'query',
      required: false,
      schema: { type: 'integer', minimum: 1, maximum: 100, default: 50 },
    })
    expect(entry('/pools/{id}', 'get').parameters).toEqual([
      {
        name: 'id',
        in: 'path',
        required: true,
        schema: { type: 'string', format: 'uuid', minLength: 36, maxLength: 36 },
      },
    ])
  })

  test('of a POST: the body without what the path says', () => {
    const { requestBody, responses } = entry('/pools/{pool_id}/positions', 'post')
    const body = requestBody?.content['application/json']
    expect(Object.keys(body?.schema['properties'] as object)).toEqual(['amount', 'note'])
    expect(body?.schema).toMatchObject({ required: ['amount'], additionalProperties: false })
    expect(body?.example).toEqual({ amount: 1 })
    expect(requestBody?.required).toBe(true)
    expect(Object.keys(responses)).toContain('201')
    expect(entry('/profile', 'put').requestBody?.required).toBe(false)
  })

  test('of a 204 has no content, and a key only where one is taken', () => {
    expect(entry('/pools/{id}', 'delete').responses['204']?.content).toBeUndefined()
    const key = { $ref: '#/components/parameters/IdempotencyKey' }
    expect(entry('/pay', 'post').parameters).toEqual([key as never])
    expect(entry('/profile', 'put').parameters).toEqual([])
  })

  test('says whose alias a further route is', () => {
    expect(entry('/pool/{id}', 'get')['x-alias-of']).toBe('pools.get')
    expect(entry('/pool/{id}', 'get').operationId).toBe('pools.get.alias1')
  })

  test('shares schemas that have a name', () => {
    const of = (path: string) => entry(path, 'get').responses['200']?.content?.['application/json']
    expect(of('/pools/{id}')?.schema).toEqual({ $ref: '#/components/schemas/Pool' })
    expect(Object.keys(sample.components.schemas).toSorted()).toEqual(['Pool', 'Problem'])
  })

  test('a path parameter without a field is refused', () => {
    const wrong = operation('wrong', {
      summary: 'x',
      rest: 'GET /wrong/:id',
      access: user(),
      limit: 'read',
      input: input({}),
      output: t.Object({}),
      immediate: () => ({}),
    })
    const registry = createRegistry([feature({ name: 'wrong', operations: [wrong] })])
    expect(() => openApi(registry, '1')).toThrow('no input field for the path parameter id')
  })
})

test('a document with a mistake is found out: the check can fail', async () => {
  const document = structuredClone(sample)
  document.paths['/pools']!['get']!.parameters[0]!.in = 'nowhere'
  expect(await mistakesOf(document)).not.toBeUndefined()
})

test('refusals that a method cannot have are not announced', () => {
  expect(refusalStatuses('GET')).toEqual([400, 401, 403, 404, 422, 429, 503])
  expect(refusalStatuses('POST')).toEqual([400, 401, 403, 404, 409, 413, 415, 422, 429, 503])
  const link = t.Object({ token: t.String({ 'x-one-use': true }) })
  expect(refusalStatuses('POST', link)).toContain(410)
})

test('the document is served, and not sent again to who has it', async () => {
  await using app = startHttp()
  const response = await app.get('/api-json')
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(await response.json()).toEqual(openApi(createRegistry([sampleFeature]), '1.2.3'))
  const etag = response.headers.get('etag') as string
  const again = await app.get('/api-json', { headers: { 'if-none-match': etag } })
  expect([again.status, await again.text()]).toEqual([304, ''])
})
