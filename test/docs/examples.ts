import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { COMMANDS, Connected } from '../../realtime/commands.ts'
import { ERRORS } from '../../src/base/errors.ts'
import { compile, type TSchema } from '../../src/base/schema.ts'
import { features } from '../../src/features.ts'
import { createRegistry } from '../../src/kernel/feature.ts'

/**
 * The examples in the documents: blocks of code marked `json client` (a frame of a client),
 * `json refused` (one that the server refuses), `json server` (a frame of the server) or
 * `json output <operation>` (an answer over REST).
 */
export interface Example {
  readonly line: number
  readonly kind: string
  readonly of: string
  readonly value: Record<string, unknown>
}

const registry = createRegistry(features)

/** The text of a document. */
export function documentText(name: string): string {
  return readFileSync(join(import.meta.dir, '../../docs', name), 'utf8')
}

/** All examples of a text, in order. */
export function examplesOf(text: string): Example[] {
  return [...text.matchAll(/^```json (\w+) ?(\S*)\n([^]*?)\n```$/gm)].map((match) => {
    const [, kind = '', of = '', json = ''] = match
    const line = text.slice(0, match.index).split('\n').length
    return { line, kind, of, value: JSON.parse(json) as Example['value'] }
  })
}

/** What is wrong with the examples of a document. */
export function flawsOf(examples: readonly Example[]): string[] {
  // An ack says by its id what it answers.
  const asked = new Map<unknown, string>()
  return examples.flatMap((example) => {
    const { value } = example
    if (example.kind === 'client') asked.set(value['id'], String(value['type']))
    return flaws(example, asked.get(value['id'])).map((flaw) => `line ${example.line}: ${flaw}`)
  })
}

function flaws({ kind, of, value }: Example, asked: string | undefined): string[] {
  const type = String(value['type'])
  if (kind === 'output') return misfits(registry.operations.get(of)?.output, value, of)
  if (kind === 'client') return misfits(inputOf(type), value['payload'], type)
  if (kind === 'refused') {
    const wrong = misfits(inputOf(type), value['payload'], type).length > 0
    return wrong ? [] : [`${type} would be accepted`]
  }
  if (kind !== 'server') return [`a block of kind ${kind}`]
  switch (type) {
    case 'connected':
      return misfits(Connected, value['payload'], type)
    case 'error':
      return errorFlaws(value['payload'] as Record<string, unknown>)
    case 'ack':
      if (asked === undefined) return [`an answer to ${String(value['id'])}, which nobody asked`]
      return misfits(outputOf(asked), value['payload'], `the answer to ${asked}`)
    default:
      return eventFlaws(type, value)
  }
}

const wordOf = (type: string) =>
  Object.hasOwn(COMMANDS, type) ? COMMANDS[type as 'ping'] : undefined
const inputOf = (type: string) => registry.operations.get(type)?.input ?? wordOf(type)?.payload
const outputOf = (type: string) => registry.operations.get(type)?.output ?? wordOf(type)?.answer

function errorFlaws({ code, retryable }: Record<string, unknown>): string[] {
  if (!Object.hasOwn(ERRORS, String(code))) return [`there is no code ${String(code)}`]
  const row = ERRORS[code as keyof typeof ERRORS]
  return row.retryable === retryable ? [] : [`${String(code)} is retryable: ${row.retryable}`]
}

function eventFlaws(type: string, { channel, offset, payload }: Example['value']): string[] {
  const [namespace] = String(channel).split(':')
  const event = registry.events.find((e) => e.type === type && e.channel.namespace === namespace)
  if (event === undefined) return [`there is no event ${type} on ${String(channel)}`]
  const numbered = event.kind !== undefined
  const flaw = numbered === (typeof offset === 'number') ? [] : [`an offset: ${numbered}`]
  return [...flaw, ...misfits(event.payload, payload, type)]
}

/** Where a value is not what a schema says, or has fields that the schema does not know. */
function misfits(schema: TSchema | undefined, value: unknown, what: string): string[] {
  if (schema === undefined) return [`there is no ${what}`]
  const errors = compile(schema).errors(value)
  return [
    ...errors.map(({ path, message }) => `${what} ${path}: ${message}`),
    ...unknownFields(schema, value).map((field) => `${what} has no field ${field}`),
  ]
}

function unknownFields(schema: TSchema, value: unknown, at = ''): string[] {
  if (Array.isArray(value)) {
    const items = schema['items'] as TSchema | undefined
    return items === undefined ? [] : value.flatMap((item) => unknownFields(items, item, at))
  }
  const properties = schema['properties'] as Record<string, TSchema> | undefined
  if (typeof value !== 'object' || value === null || properties === undefined) return []
  return Object.entries(value).flatMap(([name, field]) => {
    const known = properties[name]
    return known === undefined ? [`${at}/${name}`] : unknownFields(known, field, `${at}/${name}`)
  })
}
