import type { TObject, TSchema } from '../kernel/schema.ts'
import { refuseNul } from './body.ts'

/** What the text of a path or query parameter is turned into before it is validated. */
type Coercion = 'text' | 'integer' | 'number' | 'boolean' | { readonly items: Coercion }

/** Reads the parameters of one operation. */
export type ParameterReader = (
  input: Record<string, unknown>,
  parameters: Iterable<readonly [name: string, text: string]>,
) => void

/**
 * Makes the reader for an input schema. Text that is not of the wanted kind stays text, so that
 * validation refuses it and says what was expected; so does a repeated parameter that is no list.
 */
export function parameterReader(schema: TObject): ParameterReader {
  const coercions = new Map<string, Coercion>()
  for (const [name, field] of Object.entries(schema.properties)) {
    coercions.set(name, coercionOf(field))
    coercions.set(camelCase(name), coercionOf(field))
  }
  return (input, parameters) => {
    for (const [name, text] of parameters) {
      const coercion = coercions.get(name) ?? 'text'
      const many = typeof coercion === 'object'
      const value = coerce(many ? coercion.items : coercion, text)
      if (typeof value === 'string') refuseNul({ [name]: value })
      if (!Object.hasOwn(input, name)) define(input, name, many ? [value] : value)
      else if (Array.isArray(input[name])) input[name].push(value)
      else define(input, name, [input[name], value])
    }
  }
}

/** The part of an address after `?`, taken apart; nothing in it is an error here. */
export function queryOf(url: string): Iterable<readonly [string, string]> {
  const at = url.indexOf('?')
  return at === -1 ? [] : new URLSearchParams(url.slice(at + 1))
}

/** A parameter called `__proto__` is an unknown field, not a prototype. */
function define(input: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(input, name, {
    value,
    enumerable: true,
    configurable: true,
    writable: true,
  })
}

const camelCase = (name: string) => name.replaceAll(/_([a-z])/g, (_, l: string) => l.toUpperCase())

function coercionOf(schema: TSchema): Coercion {
  const variants = (schema['anyOf'] ?? []) as TSchema[]
  if (variants.length > 0) {
    const kinds = variants.filter((v) => v['type'] !== 'null').map(coercionOf)
    return kinds.includes('text') ? 'text' : (kinds[0] ?? 'text')
  }
  switch (schema['type']) {
    case 'integer':
    case 'number':
    case 'boolean':
      return schema['type']
    case 'array':
      return { items: coercionOf(schema['items'] as TSchema) }
    default:
      return 'text'
  }
}

const INTEGER = /^(0|-?[1-9]\d{0,15})$/
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/

function coerce(to: Coercion, text: string): unknown {
  switch (to) {
    case 'integer':
      return INTEGER.test(text) ? Number(text) : text
    case 'number':
      return NUMBER.test(text) && Number.isFinite(Number(text)) ? Number(text) : text
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : text
    default:
      return text
  }
}
