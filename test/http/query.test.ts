import { describe, expect, test } from 'bun:test'
import { Failure } from '../../src/base/errors.ts'
import { input, oneOf, t } from '../../src/base/schema.ts'
import { parameterReader } from '../../src/http/query.ts'

const schema = input({
  limit: t.Integer(),
  share: t.Number(),
  is_open: t.Boolean(),
  name: t.String(),
  state: oneOf(['1', '2']),
  tags: t.Array(t.String()),
  levels: t.Array(t.Integer()),
  parent: t.Union([t.Null(), t.Integer()]),
  any: t.Union([t.Integer(), t.String()]),
})

function read(query: string) {
  const given: Record<string, unknown> = {}
  parameterReader(schema).readQuery(given, `http://rialto.example/pools${query}`)
  return given
}

describe('a query becomes the values of the schema', () => {
  test.each([
    ['', {}],
    ['?', {}],
    ['?limit=5', { limit: 5 }],
    ['?limit=-5', { limit: -5 }],
    ['?limit=05', { limit: '05' }],
    ['?limit=5.0', { limit: '5.0' }],
    ['?limit=', { limit: '' }],
    ['?limit=%205', { limit: ' 5' }],
    ['?limit=Infinity', { limit: 'Infinity' }],
    ['?limit=1e3', { limit: '1e3' }],
    ['?share=1e3', { share: 1000 }],
    ['?share=0.25', { share: 0.25 }],
    ['?share=1e999', { share: '1e999' }],
    ['?is_open=true', { is_open: true }],
    ['?is_open=false', { is_open: false }],
    ['?is_open=1', { is_open: '1' }],
    ['?isOpen=true', { isOpen: true }],
    ['?name=5', { name: '5' }],
    ['?name=a+b%26c', { name: 'a b&c' }],
    ['?name=%ZZ', { name: '%ZZ' }],
    ['?name=a&name=b', { name: ['a', 'b'] }],
    ['?name=a&name=b&name=c', { name: ['a', 'b', 'c'] }],
    ['?state=1', { state: '1' }],
    ['?tags=a', { tags: ['a'] }],
    ['?tags=a&tags=b', { tags: ['a', 'b'] }],
    ['?levels=1&levels=x', { levels: [1, 'x'] }],
    ['?parent=7', { parent: 7 }],
    ['?any=7', { any: '7' }],
    ['?unknown=7', { unknown: '7' }],
  ])('%s', (query, expected) => {
    expect(read(query)).toEqual(expected)
  })

  test('a parameter called __proto__ is a field like any other', () => {
    const given = read('?__proto__=x')
    expect(Object.keys(given)).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(given)).toBe(Object.prototype)
  })

  test('the character U+0000 is refused: the database cannot hold it', () => {
    expect(() => read('?name=a%00b')).toThrow(Failure)
  })
})
