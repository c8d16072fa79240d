/** JSON Schemas in a short notation, so that a person can review a file that holds hundreds. */

type Json = { readonly [name: string]: unknown }

/** Words for people: they may change without anybody's client noticing. */
const WORDS = new Set(['description', 'summary', 'title', 'example', 'examples', '$id'])

/** Whether a field of a document is words for people, and not a part that is named like them. */
export const isWords = (name: string, value: unknown): boolean =>
  WORDS.has(name) && (typeof value !== 'object' || name.startsWith('example'))

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * `{ id: string(format="uuid"), note?: string | null } exact`: what a schema takes. Keywords
 * without a notation of their own are written out, so that only words are lost.
 */
export function schemaText(schema: unknown): string {
  if (!isObject(schema)) return JSON.stringify(schema)
  const { $ref, anyOf, oneOf, allOf, enum: values, type, properties, ...more } = schema
  const { required, items, additionalProperties, const: constant, ...rest } = more
  const kind = [type].flat().join(' | ')
  let text: string
  if (typeof $ref === 'string') text = $ref.replace(/^#\/components\/schemas\//, '#')
  else if (Array.isArray(anyOf)) text = anyOf.map(schemaText).join(' | ')
  else if (Array.isArray(oneOf)) text = `one of ${oneOf.map(schemaText).join(' | ')}`
  else if (Array.isArray(allOf)) text = allOf.map(schemaText).join(' & ')
  else if (constant !== undefined) text = JSON.stringify(constant)
  else if (Array.isArray(values)) text = values.map((value) => JSON.stringify(value)).join(' | ')
  else if (isObject(properties)) text = fieldsText(properties, required as string[] | undefined)
  else if (items !== undefined) text = `(${schemaText(items)})[]`
  else text = kind === '' ? 'anything' : kind
  const rules = Object.entries(rest)
    .filter(([name, value]) => !isWords(name, value))
    .map(([name, value]) => `${name}=${isObject(value) ? allText(value) : JSON.stringify(value)}`)
    .toSorted()
  const others =
    additionalProperties === undefined || typeof additionalProperties === 'boolean'
      ? ''
      : ` others ${schemaText(additionalProperties)}`
  const exact = additionalProperties === false ? ' exact' : others
  return text + (rules.length === 0 ? '' : `(${rules.join(', ')})`) + exact
}

function fieldsText(properties: Json, required: readonly string[] = []): string {
  const fields = Object.entries(properties)
    .map(([name, field]) => `${name}${required.includes(name) ? '' : '?'}: ${schemaText(field)}`)
    .toSorted()
  return fields.length === 0 ? '{}' : `{ ${fields.join(', ')} }`
}

/** An object whose values are schemas, as of `patternProperties`. */
const allText = (schemas: Json): string =>
  `{ ${Object.entries(schemas)
    .map(([name, value]) => `${name}: ${schemaText(value)}`)
    .toSorted()
    .join(', ')} }`
