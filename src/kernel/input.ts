import { Failure } from './errors.ts'
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
