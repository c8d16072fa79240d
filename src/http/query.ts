import { Failure } from '../base/errors.ts'
import type { TObject, TSchema } from '../base/schema.ts'
import { refuseNul } from '../kernel/input.ts'

/** What the text of a path or query parameter is turned into before it is validated. */
type Coercion = 'text' | 'integer' | 'number' | 'boolean' | { readonly items: Coercion }

/** Turns the text parameters of one operation into the values of its input. */
export interface ParameterReader {
  /** The value of one parameter. */
  read(name: string, text: string): unknown
  /**
   * Adds what follows `?` in an address. Repeated parameters are a list, whatever the schema says:
   * validation refuses them where none is wanted.
   */
  readQuery(input: Record<string, unknown>, url: string): void
}

/**
 * Makes the reader for an input schema. Text that is not of the wanted kind stays text, so that
 * validation refuses it and says what was expected.
 */
export function parameterReader(schema: TObject): ParameterReader {
  const coercions = new Map<string, Coercion>()
  const secret = new Set<string>()
  for (const [name, field] of Object.entries(schema.properties)) {
    if (isSecret(field)) secret.add(name).add(camelCase(name))
    coercions.set(name, coercionOf(field))
    coercions.set(camelCase(name), coercionOf(field))
  }
  const read = (name: string, text: string) => {
    const coercion = coercions.get(name) ?? 'text'
    const value = coerce(typeof coercion === 'object' ? coercion.items : coercion, text)
    if (text.includes('\0')) refuseNul({ [name]: text })
    return value
  }
  return {
    read,
    readQuery(input, url) {
      const at = url.indexOf('?')
      if (at === -1) return
      for (const [name, text] of new URLSearchParams(url.slice(at + 1))) {
        if (secret.has(name)) throw inAddress(name)
        const value = read(name, text)
        const before = Object.hasOwn(input, name) ? input[name] : undefined
        if (Array.isArray(before)) before.push(value)
        else if (before !== undefined) define(input, name, [before, value])
        else define(input, name, typeof coercions.get(name) === 'object' ? [value] : value)
      }
    },
  }
}

/**
 * Whether a field has no place in an address, which is logged on the way: JSON Schema's
 * `writeOnly`, set where an operation with a GET or DELETE route takes a secret.
 */
export const isSecret = (field: TSchema): boolean => field['writeOnly'] === true

const inAddress = (name: string) =>
  new Failure('validation_failed', 'A secret does not belong in an address: addresses are logged', {
    errors: [{ path: `/${name}`, message: 'must be in the body' }],
  })

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
