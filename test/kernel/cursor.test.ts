import { describe, expect, test } from 'bun:test'
import { encodeCursor, idOfCursor, pageOf, placeOfCursor } from '../../src/kernel/cursor.ts'

const ID = '0198c0de-7a11-7000-8000-00000000000a'
const AT = '2026-01-31T10:20:30.400Z'
const REFUSAL = { code: 'validation_failed', errors: [{ path: '/cursor' }] }
const thrownBy = (work: () => unknown) => {
  try {
    return work()
  } catch (error) {
    return error
  }
}

test('a place comes back as it was handed out, and no cursor is no place', () => {
  expect(placeOfCursor(encodeCursor([AT, ID]))).toEqual({ at: AT, id: ID })
  expect(placeOfCursor(undefined)).toBeUndefined()
  expect(idOfCursor(ID)).toBe(ID)
  expect(idOfCursor(undefined)).toBeUndefined()
})

describe('refused as a cursor of places', () => {
  test.each<[what: string, cursor: string]>([
    ['nothing', ''],
    ['garbage', '!!!'],
    ['an id alone', ID],
    ['a number, as of another list', encodeCursor(['7'])],
    ['the other order', encodeCursor([ID, AT])],
    ['no id', encodeCursor([AT])],
    ['an id with more behind it', encodeCursor([AT, `${ID}0`])],
    ['an id that is none', encodeCursor([AT, ID.replace('c', 'g')])],
    ['the character U+0000', encodeCursor([AT, `${ID.slice(0, -1)}\0`])],
    ['U+0000 in the moment', encodeCursor([`${AT.slice(0, -2)}\0Z`, ID])],
    ['a day without a time', encodeCursor(['2026-01-31', ID])],
    ['a time of elsewhere', encodeCursor(['2026-01-31T10:20:30.400+01:00', ID])],
    ['the 13th month', encodeCursor(['2026-13-01T00:00:00.000Z', ID])],
    ['colons', encodeCursor(['2026-01-31T::::::::Z', ID])],
    // JavaScript takes both, PostgreSQL neither: they were answered `internal`.
    ['the 30th of February', encodeCursor(['2026-02-30T00:00:00.000Z', ID])],
    ['the year 0', encodeCursor(['0000-01-01T00:00:00.000Z', ID])],
    ['a year of six digits', encodeCursor(['+010000-01-01T00:00:00.000Z', ID])],
    ['a long text', 'A'.repeat(10_000)],
  ])('%s', (_, cursor) => {
    expect(thrownBy(() => placeOfCursor(cursor))).toMatchObject(REFUSAL)
  })
})

describe('refused as a cursor of ids', () => {
  test.each(['', 'garbage', `${ID}\0`, `${ID} `, encodeCursor([AT, ID])])('%j', (cursor) => {
    expect(thrownBy(() => idOfCursor(cursor))).toMatchObject(REFUSAL)
  })
})

describe('a page of 2', () => {
  const page = (count: number) =>
    pageOf(
      Array.from({ length: count }, (_, n) => n + 1),
      2,
      (last) => `after ${last}`,
    )
  test.each<[rows: number, items: number[], next: string | null]>([
    [0, [], null],
    [1, [1], null],
    [2, [1, 2], null],
    [3, [1, 2], 'after 2'],
  ])('of %d rows', (rows, items, next) => {
    expect(page(rows)).toEqual({ items, next_cursor: next })
  })
})
