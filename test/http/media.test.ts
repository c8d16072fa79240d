import { afterAll, describe, expect, test } from 'bun:test'
import { Failure } from '../../src/base/errors.ts'
import { input, t } from '../../src/base/schema.ts'
import { openApi } from '../../src/http/openapi.ts'
import { anyone, user } from '../../src/kernel/access.ts'
import { createRegistry, feature } from '../../src/kernel/feature.ts'
import { operation } from '../../src/kernel/operation.ts'
import { startHttp } from './support.ts'

/** Answers that are no JSON, and requests whose bytes count. */

const table = operation('tables.get', {
  summary: 'A table',
  rest: 'GET /tables/:name',
  access: user(),
  limit: 'read',
  input: input({ name: t.String(), rows: t.Optional(t.Integer()) }),
  output: t.Object({ text: t.String() }),
  media: {
    type: 'text/csv; charset=utf-8',
    render: ({ text }, { name }) => ({
      body: text,
      headers: { 'content-disposition': `attachment; filename="${name}.csv"` },
    }),
  },
  run(_ctx, { rows = 1 }) {
    if (rows < 0) throw new Failure('conflict', 'Less than nothing')
    return Promise.resolve({ text: 'é,b\r\n'.repeat(rows) })
  },
})

const echo = operation('bytes.echo', {
  summary: 'What came',
  rest: 'POST /bytes/:place',
  access: anyone(),
  limit: 'webhook',
  raw: { field: 'body', type: 'application/json', headers: { signature: 'x-signature' } },
  input: input({
    place: t.String(),
    body: t.Uint8Array(),
    signature: t.Optional(t.String({ maxLength: 10 })),
  }),
  output: t.Object({ place: t.String(), hex: t.String(), signature: t.String() }),
  run(_ctx, { place, body, signature = 'none' }) {
    if (signature === 'bad') throw new Failure('unauthenticated', 'Forged')
    return Promise.resolve({ place, hex: Buffer.from(body).toString('hex'), signature })
  },
})

const features = [feature({ name: 'media', operations: [table, echo] })]
const app = startHttp({
  features,
  config: { rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 4 } },
})
afterAll(() => app[Symbol.asyncDispose]())

describe('an answer of another media type', () => {
  test('is rendered from the output, with the headers of every answer', async () => {
    const response = await app.get('/api/v1/tables/prices?rows=2', { token: 'good' })
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8')
    expect(response.headers.get('content-disposition')).toBe('attachment; filename="prices.csv"')
    expect(response.headers.get('x-content-type-options')).toBe('nosniff')
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(await response.text()).toBe('é,b\r\né,b\r\n')
  })

  test('is a problem when it fails, and not to be had without a token', async () => {
    const refused = await app.get('/api/v1/tables/prices?rows=-1', { token: 'good' })
    expect(refused.status).toBe(409)
    expect(refused.headers.get('content-type')).toBe('application/problem+json')
    expect((await app.get('/api/v1/tables/prices')).status).toBe(401)
  })

  test('is none for sockets', () => {
    expect([table.socket, echo.socket]).toEqual([false, false])
    expect(() => operation('x', { ...table, socket: true } as never)).toThrow('REST only')
  })
})

describe('a raw body', () => {
  const post = (body: string | Uint8Array, headers: Record<string, string> = {}) =>
    app.get('/api/v1/bytes/here', { method: 'POST', body, headers })

  test('comes as it was sent, whatever it is, with the headers asked for', async () => {
    for (const bytes of [
      new TextEncoder().encode('{ "a" :  1 }\n'),
      new Uint8Array([0, 255, 10]),
      new Uint8Array(),
    ]) {
      const response = await post(bytes, { 'X-Signature': 'v1', 'Content-Type': 'image/png' })
      expect(await response.json()).toEqual({
        place: 'here',
        hex: Buffer.from(bytes).toString('hex'),
        signature: 'v1',
      })
    }
  })

  test('of more than 1 MiB, or compressed, is refused; so is a header out of bounds', async () => {
    expect((await post('x'.repeat(1_048_577))).status).toBe(413)
    expect((await post('x', { 'Content-Encoding': 'gzip' })).status).toBe(415)
    expect((await post('x', { 'X-Signature': 'far too long for it' })).status).toBe(422)
  })

  test('that is accepted is not counted for its address; one that is refused is', async () => {
    app.clock.advance(900_001)
    for (let n = 0; n < 20; n++) expect((await post('x')).status).toBe(200)
    const statuses = []
    for (let n = 0; n < 6; n++) statuses.push((await post('x', { 'X-Signature': 'bad' })).status)
    expect(statuses).toEqual([401, 401, 401, 401, 429, 429])
  })
})

test('the document says what both are', () => {
  const { paths } = openApi(createRegistry(features), '1') as unknown as {
    paths: Record<string, Record<string, Record<string, never>>>
  }
  expect(paths['/tables/{name}']!['get']!['responses']?.[200]).toMatchObject({
    content: { 'text/csv': { schema: { type: 'string' } } },
  })
  const post = paths['/bytes/{place}']!['post']!
  expect(post['requestBody']).toEqual({
    required: true,
    content: { 'application/json': { schema: {} } },
  } as never)
  expect(post['parameters']).toMatchObject([
    { name: 'place', in: 'path' },
    { name: 'x-signature', in: 'header', required: false },
  ])
})
