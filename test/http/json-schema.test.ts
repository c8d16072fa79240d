import { describe, expect, test } from 'bun:test'
import { compile, input, oneOf, t, Timestamp, Uuid } from '../../src/base/schema.ts'
import { exampleOf, schemaWriter } from '../../src/http/json-schema.ts'

describe('schemas in documents', () => {
  test('hold nothing but JSON Schema', () => {
    const written = schemaWriter().write(t.Object({ a: t.Optional(oneOf(['x', 'y'])) }))
    expect(Object.getOwnPropertySymbols(written)).toEqual([])
    expect(JSON.stringify(written)).toBe(
      '{"type":"object","properties":{"a":{"type":"string","enum":["x","y"]}}}',
    )
  })

  test('with a name are components, written once', () => {
    const writer = schemaWriter()
    const Money = t.Object({ amount: t.String() }, { $id: 'Money' })
    const written = writer.write(t.Object({ a: Money, b: t.Array(Money) }))
    const ref = { $ref: '#/components/schemas/Money' }
    expect(written['properties']).toEqual({ a: ref, b: { type: 'array', items: ref } })
    expect(writer.components).toEqual({
      Money: { type: 'object', properties: { amount: { type: 'string' } }, required: ['amount'] },
    })
  })

  test('may hold themselves', () => {
    const writer = schemaWriter()
    const Tree = t.Recursive((This) => t.Object({ children: t.Array(This) }), { $id: 'Tree' })
    expect(writer.write(Tree)).toEqual({ $ref: '#/components/schemas/Tree' })
    expect(writer.components['Tree']).toMatchObject({
      properties: { children: { items: { $ref: '#/components/schemas/Tree' } } },
    })
  })
})

describe('examples', () => {
  const schema = input({
    id: Uuid,
    at: Timestamp,
    email: t.String({ format: 'email' }),
    link: t.String({ format: 'uri' }),
    short: t.String({ maxLength: 3 }),
    long: t.String({ minLength: 30 }),
    state: oneOf(['open', 'closed']),
    count: t.Integer({ minimum: 7 }),
    share: t.Number(),
    yes: t.Boolean(),
    list: t.Array(t.Integer()),
    either: t.Union([t.Literal('a'), t.Null()]),
    given: t.String({ examples: ['mine'] }),
    inside: t.Object({ text: t.String(), left_out: t.Optional(t.String()) }),
  })

  test('fit their schema', () => {
    expect(compile(schema).errors(exampleOf(schema))).toEqual([])
    expect(exampleOf(schema)).toMatchObject({
      given: 'mine',
      count: 7,
      inside: { text: 'some words' },
    })
  })

  test('show what is optional only where nothing is required', () => {
    expect(exampleOf(t.Object({ a: t.Optional(t.Boolean()) }))).toEqual({ a: true })
  })
})
