import { Failure } from '../base/errors.ts'

/**
 * An instant of the wire as the database takes it, with microseconds where they were given: dates
 * that no calendar has (30 February) and years that the database does not know must not reach it.
 *
 * @param text RFC 3339, checked by its schema
 * @throws Failure `validation_failed`
 */
export function instantOf(text: string, path: string): string {
  const ms = Date.parse(text)
  const iso = Number.isNaN(ms) ? '' : new Date(ms).toISOString()
  const [year, month, day] = text.slice(0, 10).split('-').map(Number) as [number, number, number]
  const exists = new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day
  // Years beyond four digits, and year 0, which is 1 BC.
  if (!exists || !/^\d{4}-/.test(iso) || iso.startsWith('0000')) {
    throw new Failure('validation_failed', 'There is no such instant', {
      errors: [{ path, message: 'is no instant of the years 1 to 9999' }],
    })
  }
  const fraction = /\.(\d{1,6})/.exec(text)?.[1] ?? ''
  return fraction.length <= 3 ? iso : `${iso.slice(0, 20)}${fraction}Z`
}
