import type { TSchema } from '../base/schema.ts'

/** JSON Schema as it stands in a document. */
export type JsonSchema = { [keyword: string]: unknown }

/** Turns schemas into what a document can hold; those with an `$id` become components. */
export interface SchemaWriter {
  write(schema: TSchema): JsonSchema
  /** The components met so far, by name. */
  readonly components: Record<string, JsonSchema>
}

const COMPONENTS = '#/components/schemas/'

/**
 * Makes a writer for one document. TypeBox keeps its own knowledge in symbols, so a copy of the
 * string keys is clean JSON Schema (draft 2020-12, which OpenAPI 3.1 takes as it is).
 */
export function schemaWriter(): SchemaWriter {
  const components: Record<string, JsonSchema> = {}

  const copy = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(copy)
    if (typeof value !== 'object' || value === null) return value
    return write(value as TSchema)
  }

  const write = (schema: TSchema): JsonSchema => {
    const { $id, $ref, ...keywords } = schema as JsonSchema
    if (typeof $ref === 'string') return { $ref: $ref.startsWith('#') ? $ref : COMPONENTS + $ref }
    if (typeof $id !== 'string') return copyAll(keywords)
    // Set before its inside is written: a recursive schema meets itself.
    if (!Object.hasOwn(components, $id)) {
      components[$id] = {}
      components[$id] = copyAll(keywords)
    }
    return { $ref: COMPONENTS + $id }
  }

  const copyAll = (keywords: JsonSchema): JsonSchema =>
    Object.fromEntries(Object.entries(keywords).map(([name, value]) => [name, copy(value)]))

  return { write, components }
}

/**
 * A value that fits a schema as far as its keywords tell; a `pattern` they do not tell. What is
 * optional appears only where nothing is required.
 */
export function exampleOf(schema: TSchema): unknown {
  const given = (schema['examples'] as unknown[] | undefined)?.[0] ?? schema['default']
  if (given !== undefined) return given
  if (schema['const'] !== undefined) return schema['const']
  if (schema['enum'] !== undefined) return (schema['enum'] as unknown[])[0]
  const variant = (schema['anyOf'] as TSchema[] | undefined)?.[0]
  if (variant !== undefined) return exampleOf(variant)
  switch (schema['type']) {
    case 'object': {
      const fields = Object.entries((schema['properties'] ?? {}) as Record<string, TSchema>)
      const required = (schema['required'] ?? []) as string[]
      const shown = required.length > 0 ? fields.filter(([n]) => required.includes(n)) : fields
      return Object.fromEntries(shown.map(([name, field]) => [name, exampleOf(field)]))
    }
    case 'array':
      return [exampleOf(schema['items'] as TSchema)]
    case 'integer':
    case 'number':
      return schema['minimum'] ?? 1
    case 'boolean':
      return true
    case 'string':
      return exampleText(schema)
    default:
      return null
  }
}

const EXAMPLES: Record<string, string> = {
  uuid: '0198c0de-7a11-7000-8000-00000000a11c',
  'date-time': '2026-01-31T12:00:00.000Z',
  email: 'ada@example.org',
  uri: 'https://example.org/',
}
const WORDS = 'some words of text, '

function exampleText({ format, minLength = 0, maxLength = WORDS.length }: TSchema): string {
  const known = EXAMPLES[format as string]
  if (known !== undefined) return known
  const length = Math.max(minLength as number, Math.min(maxLength as number, 'some words'.length))
  return WORDS.repeat(Math.ceil(length / WORDS.length)).slice(0, length)
}
