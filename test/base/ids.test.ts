import { describe, expect, test } from 'bun:test'
import { isUuid, jitter, randomInt, randomToken, uuidv7 } from '../../src/base/ids.ts'

const timeOf = (id: string) => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)

describe('uuidv7', () => {
  test('has version 7, the RFC variant and the time', () => {
    // Tests with a clock of their own may have made ids of a later time in this process.
    const ms = Math.max(Date.now(), timeOf(uuidv7())) + 1_000
    const id = uuidv7(ms)
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(timeOf(id)).toBe(ms)
  })

  // The runtime's own generator steps back when more than 4,096 ids fall into a millisecond, and
  // when the time given to it does.
  test('ids only grow: in bursts, when time stands still and when it goes back', () => {
    const start = Math.max(Date.now(), timeOf(uuidv7())) + 10_000
    let last = uuidv7(start)
    let backwards = 0
    for (let i = 0; i < 60_000; i++) {
      const id = uuidv7(start + Math.floor(i / 9_000) - (i % 3) * 4_000)
      if (id <= last) backwards++
      last = id
    }
    expect(backwards).toBe(0)
  })
})

test('isUuid takes every version in either case and nothing else', () => {
  const id = 'f47ac10b-58cc-4372-a567-0e02b2c3d479'
  for (const good of [id, id.toUpperCase(), uuidv7(), '00000000-0000-0000-0000-000000000000']) {
    expect(isUuid(good)).toBe(true)
  }
  const bad = [`${id} `, `${id}\n`, id.slice(1), id.replaceAll('-', ''), `g${id.slice(1)}`, 7, null]
  for (const value of bad) expect(isUuid(value)).toBe(false)
})

test('randomToken is base64url of the asked length and does not repeat', () => {
  const tokens = Array.from({ length: 1_000 }, () => randomToken(32))
  expect(tokens.every((token) => /^[\w-]{43}$/.test(token))).toBe(true)
  expect(new Set(tokens).size).toBe(1_000)
})

test('randomInt reaches every value, none outside, and refuses impossible ranges', () => {
  const seen = new Set(Array.from({ length: 500 }, () => randomInt(6)))
  expect(seen).toEqual(new Set([0, 1, 2, 3, 4, 5]))
  expect(randomInt(1)).toBe(0)
  expect(randomInt(2 ** 32)).toBeLessThan(2 ** 32)
  for (const bad of [0, -1, 1.5, Number.NaN, 2 ** 32 + 1]) expect(() => randomInt(bad)).toThrow()
})

test('jitter stays within its ratio and varies', () => {
  const values = Array.from({ length: 500 }, () => jitter(1_000, 0.2))
  expect(Math.min(...values)).toBeGreaterThanOrEqual(800)
  expect(Math.max(...values)).toBeLessThanOrEqual(1_200)
  expect(Math.max(...values) - Math.min(...values)).toBeGreaterThan(200)
})
