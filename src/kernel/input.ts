import { Failure } from '../base/errors.ts'
import type { Operation } from './operation.ts'

/** Fields that clients of the older systems send although the server knows them better. */
const OVERWRITTEN = new Set(['user_id', 'sender_id', 'caller_id', 'timestamp', 'is_read'])

const snake = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/**
 * Validates an input. Good input costs one compiled check; only when it fails are camelCase names
 * and the fields that the server overwrites looked at, and the check run again.
 *
 * @throws Failure `validation_failed` with the invalid fields
 */
export function acceptInput(operation: Operation, value: unknown): unknown {
  const { validInput } = operation
  if (validInput.check(value)) return value
  const tidied = tidy(operation, value)
  if (validInput.check(tidied)) return tidied
  throw new Failure('validation_failed', `Invalid input of ${operation.name}`, {
    errors: validInput.errors(tidied),
  })
}

function tidy(operation: Operation, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const known = operation.input.properties
  const result: Record<string, unknown> = {}
  for (const [name, field] of Object.entries(value)) {
    const target = Object.hasOwn(known, name) ? name : snake(name)
    if (Object.hasOwn(known, target)) {
      // Both spellings at once: the canonical one wins.
      if (target === name || !Object.hasOwn(value, target)) result[target] = field
    } else if (!OVERWRITTEN.has(target)) {
      // Kept under its own name, so that the check refuses it and says so.
      Object.defineProperty(result, name, { value: field, enumerable: true, configurable: true })
    }
  }
  return result
}

/**
 * Refuses the character U+0000, which the database cannot store in text.
 *
 * @throws Failure `validation_failed` with the place
 */
export function refuseNul(value: unknown): void {
  // A list instead of recursion: how deep the value is, the sender decides.
  const waiting: [path: string, value: unknown][] = [['', value]]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [path, current] = next
    if (typeof current === 'string' && current.includes('\0')) {
      throw invalid(path, 'Must not hold the character U+0000')
    }
    if (typeof current !== 'object' || current === null) continue
    for (const [name, child] of Object.entries(current)) {
      if (name.includes('\0')) throw invalid(path, 'A name must not hold the character U+0000')
      waiting.push([`${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, child])
    }
  }
}

function invalid(path: string, message: string): Failure {
  const errors = [{ path: path === '' ? '/' : path, message }]
  return new Failure('validation_failed', 'Invalid input', { errors })
}
