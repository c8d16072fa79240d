import { COMMANDS } from '../../realtime/commands.ts'
import { compile, type TObject, type TSchema } from '../../src/base/schema.ts'
import type { Operation } from '../../src/kernel/operation.ts'
import type { Chance } from '../support/budget.ts'

/**
 * Makes frames that somebody hostile, broken or unlucky might send: valid calls of every operation
 * and command, made from their schemas, and what becomes of them when values, structure or single
 * characters are changed.
 */
export interface FrameGenerator {
  /** The text of a frame. `id` is in it, unless a mutation has hit it. */
  next(id: string): string
}

export interface GeneratorParts {
  readonly chance: Chance
  readonly operations: readonly Operation[]
  /** Ids, names, channels and the like that mean something to the server. */
  readonly known: readonly string[]
}

type Json = unknown
type Fields = Record<string, Json>

const NASTY_TEXTS = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  'x\udfffy',
  '\u202e\u200b\ufeff',
  '👩‍👩‍👧‍👦'.repeat(20),
  "'; drop table users; --",
  '{"type":"ping"}',
  '%00%ff%E0%A4%A',
  '../../../etc/passwd',
  '__proto__',
  'constructor',
  'null',
  '{}',
  '{null}',
  'NaN',
  'user:',
  ':',
  'user::',
  'user:\0',
  'conversation:nonsense',
  'conversation:%',
  'nowhere:x',
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  '0000000000000000000000000000000000000000',
  '2024-02-30T25:61:61Z',
  // A cursor with something other than a UUID in its place, and one before all time.
  Buffer.from(`2024-01-01T00:00:00.000Z ${'-'.repeat(36)}`).toString('base64url'),
  Buffer.from('0000-01-01T00:00:00.000Z 0').toString('base64url'),
  Buffer.from('9999999999999999').toString('base64url'),
  'x'.repeat(300),
  'é'.repeat(5_000),
]
const NASTY_NUMBERS = [
  0,
  -0,
  -1,
  0.5,
  1e21,
  -1e308,
  2 ** 31,
  2 ** 53,
  2 ** 63,
  Number.MAX_SAFE_INTEGER,
  5e-324,
]
const NASTY_KEYS = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '',
  '\0',
  '0',
  'length',
  'user_id',
  'userId',
  'content',
  'then',
  'toJSON',
  'a'.repeat(200),
]
/** What JSON allows and no value of JavaScript turns into. */
const NASTY_TOKENS = ['1e999', '-1e999', '9'.repeat(400), '1e-400', '-0', '0.1e1', '"\\u0000"']

/** Makes the generator. */
export function frameGenerator({ chance, operations, known }: GeneratorParts): FrameGenerator {
  const inputs = new Map<string, TObject>([
    ...operations.map((operation) => [operation.name, operation.input] as const),
    ...Object.entries(COMMANDS).map(([command, { payload }]) => [command, payload] as const),
  ])
  const types = [...inputs.keys()]
  const sample = sampler(chance, known)

  const valid = (id: string): Fields => {
    const type = chance.pick(types)
    const frame: Fields = { type, id, payload: sample(inputs.get(type) as TObject) }
    if (chance.next() < 0.05) frame['key'] = chance.next() < 0.8 ? `key-${chance.below(50)}` : 7
    if (chance.next() < 0.02) frame['step_up'] = nastyValue(chance)
    return frame
  }

  return {
    next(id) {
      const frame = valid(id)
      switch (chance.below(10)) {
        case 0:
        case 1:
        case 2:
          return JSON.stringify(frame)
        case 3:
          return JSON.stringify(mutated(frame, chance))
        case 4:
        case 5:
        case 6: {
          // Mostly the payload: a frame without type or id comes no further than the parser.
          for (let n = 0; n <= chance.below(3); n++)
            frame['payload'] = mutated(frame['payload'], chance)
          return JSON.stringify(frame)
        }
        case 7:
          return scratched(JSON.stringify(frame), chance)
        case 8:
          return tokenReplaced(JSON.stringify(frame), chance)
        default:
          return garbage(frame, chance)
      }
    },
  }
}

/** Makes values that a schema takes. */
function sampler(chance: Chance, known: readonly string[]): (schema: TSchema) => Json {
  const texts = new Map<TSchema, string[]>()
  const textsFor = (schema: TSchema): string[] => {
    let fitting = texts.get(schema)
    if (fitting === undefined) {
      const { check } = compile(schema)
      fitting = known.filter(check)
      texts.set(schema, fitting)
    }
    return fitting
  }
  const sample = (schema: TSchema): Json => {
    if (Array.isArray(schema['enum'])) return chance.pick(schema['enum'] as Json[])
    if ('const' in schema) return schema['const']
    if (Array.isArray(schema['anyOf'])) return sample(chance.pick(schema['anyOf'] as TSchema[]))
    switch (schema['type']) {
      case 'object':
        return sampleObject(schema as TObject)
      case 'array':
        return Array.from({ length: chance.below(4) }, () => sample(schema['items'] as TSchema))
      case 'string': {
        const fitting = textsFor(schema)
        return fitting.length === 0 ? 'none' : chance.pick(fitting)
      }
      case 'integer':
      case 'number': {
        const { minimum = 0, maximum = 1_000 } = schema as { minimum?: number; maximum?: number }
        return chance.next() < 0.2
          ? maximum
          : minimum + chance.below(Math.min(maximum - minimum, 100))
      }
      case 'boolean':
        return chance.next() < 0.5
      default:
        return null
    }
  }
  const sampleObject = (schema: TObject): Fields => {
    const required = new Set(schema.required ?? [])
    const names = Object.keys(schema.properties).filter(
      (n) => required.has(n) || chance.next() < 0.4,
    )
    return Object.fromEntries(names.map((n) => [n, sample(schema.properties[n] as TSchema)]))
  }
  return sample
}

function nastyValue(chance: Chance): Json {
  switch (chance.below(9)) {
    case 0:
    case 1:
    case 2:
      return chance.pick(NASTY_TEXTS)
    case 3:
      return chance.pick(NASTY_NUMBERS)
    case 4:
      return chance.next() < 0.5 ? null : chance.next() < 0.5
    case 5:
      return nested(1 + chance.below(40), chance.next() < 0.5)
    case 6:
      return Array.from({ length: chance.below(6) }, () => chance.pick(NASTY_TEXTS))
    case 7:
      return withKey({}, chance.pick(NASTY_KEYS), chance.pick(NASTY_TEXTS))
    default:
      return noise(chance.below(60), chance)
  }
}

function nested(depth: number, inObjects: boolean): Json {
  let value: Json = 1
  for (let n = 0; n < depth; n++) value = inObjects ? { a: value } : [value]
  return value
}

/** Sets an own property also where the name is `__proto__`. */
function withKey(of: Fields, key: string, value: Json): Fields {
  const options = { value, enumerable: true, configurable: true, writable: true }
  return Object.defineProperty({ ...of }, key, options)
}

/** Changes one thing somewhere in a value. */
function mutated(value: Json, chance: Chance): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return nastyValue(chance)
  const fields = value as Fields
  const names = Object.keys(fields)
  const action = chance.below(6)
  if (names.length === 0 || action === 0) {
    return withKey(fields, chance.pick(NASTY_KEYS), nastyValue(chance))
  }
  const name = chance.pick(names)
  if (action === 1) {
    const { [name]: _gone, ...rest } = fields
    return rest
  }
  if (action === 2) {
    const camel = name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    return withKey(fields, camel, fields[name])
  }
  return withKey(fields, name, mutated(fields[name], chance))
}

/** Characters by chance. */
export function noise(length: number, chance: Chance): string {
  return Array.from({ length }, () => String.fromCharCode(chance.below(256))).join('')
}

/** Changes single characters. */
function scratched(text: string, chance: Chance): string {
  const at = chance.below(text.length)
  const char = String.fromCharCode(chance.next() < 0.7 ? chance.below(128) : chance.below(65_536))
  switch (chance.below(5)) {
    case 0:
      return text.slice(0, at)
    case 1:
      return text.slice(0, at) + text.slice(at + 1)
    case 2:
      return text.slice(0, at) + char + text.slice(at + 1)
    case 3:
      return text.slice(0, at) + text.slice(chance.below(text.length))
    default:
      return text.slice(0, at) + char + text.slice(at)
  }
}

/** Puts a token that is JSON, just barely, in the place of a text. */
function tokenReplaced(text: string, chance: Chance): string {
  const values = [...text.matchAll(/:("(?:[^"\\]|\\.)*"|\d+|true|false)/g)]
  if (values.length === 0) return text
  const { 0: whole, index } = chance.pick(values)
  const end = index + whole.length
  return `${text.slice(0, index)}:${chance.pick(NASTY_TOKENS)}${text.slice(end)}`
}

const DEPTH_MAX = 8_000

/** Hardly a frame any more. */
function garbage(frame: Fields, chance: Chance): string {
  const { id } = frame
  switch (chance.below(8)) {
    case 0:
      return noise(1 + chance.below(200), chance)
    case 1:
      return JSON.stringify(nastyValue(chance))
    case 2: {
      const depth = chance.below(DEPTH_MAX)
      const deep = `${'['.repeat(depth)}${']'.repeat(depth)}`
      return `{"type":"message","id":${JSON.stringify(id)},"payload":{"a":${deep}}}`
    }
    case 3:
      return '[{"a":'.repeat(chance.below(DEPTH_MAX))
    case 4:
      return JSON.stringify({ ...frame, type: nastyValue(chance) })
    case 5:
      return JSON.stringify({ ...frame, id: nastyValue(chance) })
    case 6: {
      const many = Array.from({ length: chance.below(2_000) }, (_, n) => [`k${n}`, n])
      return JSON.stringify({ ...frame, payload: Object.fromEntries(many) as Fields })
    }
    default:
      return JSON.stringify({ ...frame, payload: nastyValue(chance) })
  }
}
