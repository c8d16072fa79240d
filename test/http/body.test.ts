import { afterAll, describe, expect, test } from 'bun:test'
import { BODY_BYTES_MAX } from '../../src/http/body.ts'
import type { Problem } from '../../src/http/problem.ts'
import { POOL_ID } from './sample-feature.ts'
import { startHttp } from './support.ts'

const POSITIONS = `/api/v1/pools/${POOL_ID}/positions`

type Body = NonNullable<RequestInit['body']>

const problem = async (response: Response) => {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  return (await response.json()) as Problem
}

// Most rules hold whatever came before, so one server with room for all requests serves them.
const app = startHttp({
  config: { rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 10_000 } },
})
afterAll(() => app[Symbol.asyncDispose]())

describe('a body', () => {
  const post = (body: Body, headers: Record<string, string> = {}) =>
    app.get(POSITIONS, {
      token: 'good',
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json', ...headers },
    })
  /** Sent in chunks, without a length. */
  const chunked = (...parts: string[]) =>
    new ReadableStream({
      async start(controller) {
        for (const part of parts) controller.enqueue(new TextEncoder().encode(part))
        controller.close()
      },
    })
  const long = (bytes: number) => {
    const empty = JSON.stringify({ amount: 5, note: '' })
    return JSON.stringify({ amount: 5, note: 'x'.repeat(bytes - empty.length) })
  }
  const deep = '['.repeat(400_000) + ']'.repeat(400_000)
  const bytes = (...values: number[]) => new Uint8Array(values)
  const quoted = (text: string) => new TextEncoder().encode(`{"amount":5,"note":"${text}"}`)

  test.each<[string, Body, Record<string, string>, number, string]>([
    ['not JSON', '{amount:5}', {}, 400, 'malformed_json'],
    ['cut short', '{"amount":', {}, 400, 'malformed_json'],
    ['blank', ' ', {}, 400, 'malformed_json'],
    ['not UTF-8', bytes(0x22, 0xff, 0x22), {}, 400, 'malformed_json'],
    ['very deep', '['.repeat(200_000), {}, 400, 'malformed_json'],
    ['very deep and whole', `{"note":${deep}}`, {}, 422, 'validation_failed'],
    ['very deep in an unknown field', `{"x":${deep}}`, {}, 422, 'validation_failed'],
    ['very deep with U+0000', `{"x":["\\u0000",${deep}]}`, {}, 422, 'validation_failed'],
    ['a list', '[]', {}, 422, 'validation_failed'],
    ['null', 'null', {}, 422, 'validation_failed'],
    ['a text', '"amount"', {}, 422, 'validation_failed'],
    ['a number', '5', {}, 422, 'validation_failed'],
    ['with U+0000', quoted('a\\u0000b'), {}, 422, 'validation_failed'],
    ['with U+0000 in a name', '{"amount":5,"n\\u0000":1}', {}, 422, 'validation_failed'],
    ['a form', 'amount=5', { 'content-type': 'application/x-www-form-urlencoded' }, 415, ''],
    ['text/plain', '{"amount":5}', { 'content-type': 'text/plain' }, 415, ''],
    ['almost JSON', '{"amount":5}', { 'content-type': 'application/json5' }, 415, ''],
    ['no type', bytes(0x7b, 0x7d), { 'content-type': '' }, 415, ''],
    ['latin1', '{}', { 'content-type': 'application/json; charset=latin1' }, 415, ''],
    ['compressed', Bun.gzipSync('{}'), { 'content-encoding': 'gzip' }, 415, ''],
    ['too long by one', long(BODY_BYTES_MAX + 1), {}, 413, 'too_large'],
    ['too long in chunks', chunked(long(BODY_BYTES_MAX), ' '), {}, 413, 'too_large'],
  ])('%s', async (_, body, headers, status, code) => {
    const response = await post(body, headers)
    expect(response.status).toBe(status)
    expect((await problem(response)).code).toBe((code || 'unsupported_media_type') as 'internal')
  })

  test.each<[string, Body, Record<string, string>]>([
    ['with a charset', '{"amount":5}', { 'content-type': 'Application/JSON; Charset="UTF-8"' }],
    ['in chunks', chunked('{"amo', 'unt":5}'), {}],
    ['with a byte order mark', '\ufeff{"amount":5}', {}],
    ['uncompressed, and saying so', '{"amount":5}', { 'content-encoding': 'identity' }],
    ['the text \\u0000, not the character', quoted('\\\\u0000'), {}],
    ['as long as allowed', long(BODY_BYTES_MAX), {}],
    ['as long as allowed in chunks', chunked(long(BODY_BYTES_MAX)), {}],
  ])('is taken %s', async (_, body, headers) => {
    expect((await post(body, headers)).status).toBe(201)
  })

  test('the place of U+0000 is told', async () => {
    const response = await post('{"amount":5,"note":{"a/b":["\\u0000"]}}')
    expect((await problem(response)).errors?.[0]?.path).toBe('/note/a~1b/0')
  })

  test('of a stranger is not read', async () => {
    const response = await app.get(POSITIONS, { method: 'POST', body: 'x', headers: {} })
    expect(response.status).toBe(401)
  })
})
