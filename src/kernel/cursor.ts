import { Failure } from '../base/errors.ts'
import { isUuid } from '../base/ids.ts'

/** Places in lists, as clients hand them back: opaque to them, checked by us. */

/** A place in a list that is ordered by a moment, and by an id where moments are the same. */
export interface Place {
  /** RFC 3339 with milliseconds. */
  readonly at: string
  readonly id: string
}

/** The refusal of a cursor that is none of this list. */
export const badCursor = () =>
  new Failure('validation_failed', 'Not a cursor of this list', {
    errors: [{ path: '/cursor', message: 'is not a next_cursor of this list' }],
  })

/** Makes a cursor of texts without spaces. */
export function encodeCursor(parts: readonly string[]): string {
  return Buffer.from(parts.join(' ')).toString('base64url')
}

/** As `toISOString` writes it; the year 0 and the 30th of February are none for the database. */
function isMoment(text: string): boolean {
  const ms = Date.parse(text)
  return !Number.isNaN(ms) && new Date(ms).toISOString() === text && /^(?!0000)\d{4}-/.test(text)
}

/**
 * Reads the cursor of a list that is ordered by a moment and an id.
 * @throws Failure `validation_failed`
 */
export function placeOfCursor(cursor: string | undefined): Place | undefined {
  if (cursor === undefined) return undefined
  const [at = '', id = ''] = Buffer.from(cursor, 'base64url').toString().split(' ')
  if (!isMoment(at) || !isUuid(id)) throw badCursor()
  return { at, id }
}

/**
 * Reads the cursor of a list that is ordered by ids.
 * @throws Failure `validation_failed`
 */
export function idOfCursor(cursor: string | undefined): string | undefined {
  if (cursor !== undefined && !isUuid(cursor)) throw badCursor()
  return cursor
}

/** The first `limit` of `limit + 1` rows, with the cursor of what follows. */
export function pageOf<T>(
  rows: readonly T[],
  limit: number,
  cursorOf: (last: T) => string,
): { items: T[]; next_cursor: string | null } {
  const items = rows.slice(0, limit)
  const last = rows.length > limit ? items.at(-1) : undefined
  return { items, next_cursor: last === undefined ? null : cursorOf(last) }
}
