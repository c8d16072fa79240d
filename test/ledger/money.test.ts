import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Failure } from '../../src/base/errors.ts'
import { equalParts, portion, proRata } from '../../src/ledger/index.ts'
import { type Asset, formatAmount, parseAmount } from '../../src/money/money.ts'

const asset = (code: string, scale: number): Asset => ({
  code,
  name: code,
  scale,
  transferable: true,
})
const eur = asset('EUR', 2)
const msat = asset('MSAT', 0)
const tk = asset('TK', 18)
const sum = (parts: readonly bigint[]) => parts.reduce((all, part) => all + part, 0n)

describe('amounts', () => {
  test.each([
    ['12.50', eur, 1_250n],
    ['12.5', eur, 1_250n],
    ['0.01', eur, 1n],
    ['21000', msat, 21_000n],
    ['0.000000000000000001', tk, 1n],
    [`${'9'.repeat(40)}`, eur, 10n ** 42n - 100n],
  ])('%s of %o', (text, of, expected) => {
    expect(parseAmount(text, of)).toBe(expected as never)
  })

  test.each([
    '0',
    '0.00',
    '-1',
    '+1',
    '0.001',
    '1e3',
    'NaN',
    'Infinity',
    '',
    ' 1',
    '1.',
    '.5',
    '1,5',
    '0x10',
    '1.2.3',
    '٣',
    '9'.repeat(80),
  ])('%p is refused for euros', (text) => {
    const refusal = (() => {
      try {
        return parseAmount(text, eur)
      } catch (error) {
        return error
      }
    })()
    expect(refusal).toBeInstanceOf(Failure)
    expect((refusal as Failure).code).toBe('validation_failed')
  })

  test('survive being written and read, for every scale', () => {
    fc.assert(
      fc.property(fc.bigInt(1n, 10n ** 30n), fc.integer({ min: 0, max: 18 }), (value, scale) => {
        const of = asset('X1', scale)
        expect(parseAmount(formatAmount(value, of), of)).toBe(value as never)
      }),
    )
    expect(formatAmount(-5n, eur)).toBe('-0.05')
  })
})

describe('splitting', () => {
  const weights = fc.array(fc.bigInt(0n, 10n ** 24n), { minLength: 1, maxLength: 60 })

  test('pro rata adds up, and nobody is a unit away from their share', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 10n ** 30n), weights, (total, shares) => {
        const all = sum(shares)
        fc.pre(all > 0n)
        const parts = proRata(total, shares)
        expect(sum(parts)).toBe(total)
        for (const [n, part] of parts.entries()) {
          const exact = total * (shares[n] as bigint)
          const distance = part * all - exact
          expect(distance < all && distance > -all).toBe(true)
          // Who has put in nothing gets nothing.
          if (shares[n] === 0n) expect(part).toBe(0n as never)
        }
      }),
    )
  })

  test('more weight never gets less', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 10_000n), weights, (total, shares) => {
        fc.pre(sum(shares) > 0n)
        const parts = proRata(total, shares)
        const order = shares.map((_, n) => n).sort((a, b) => (shares[a]! < shares[b]! ? -1 : 1))
        for (const [n, index] of order.entries()) {
          const before = order[n - 1]
          if (before === undefined || shares[before] === shares[index]) continue
          expect(parts[index]! >= parts[before]!).toBe(true)
        }
      }),
    )
  })

  test.each([
    [100n, [1n, 1n, 1n], [34n, 33n, 33n]],
    [7n, [3n, 2n, 1n], [4n, 2n, 1n]],
    [1n, [1n, 2n], [0n, 1n]],
    [0n, [5n], [0n]],
  ])('%p by %p', (total, shares, expected) => {
    expect(proRata(total, shares)).toEqual(expected as never)
  })

  test('equal parts differ by one unit at most, the larger ones first', () => {
    expect(equalParts(11n, 4)).toEqual([3n, 3n, 3n, 2n] as never)
  })

  test.each([
    [() => proRata(-1n, [1n])],
    [() => proRata(1n, [0n, 0n])],
    [() => proRata(1n, [])],
    [() => proRata(1n, [2n, -1n])],
    [() => equalParts(1n, 0)],
    [() => portion(1n, 1n, 0n, 'down')],
  ])('a bug of the caller throws: %p', (work) => {
    expect(work).toThrow(RangeError)
  })
})

describe('portions', () => {
  test.each([
    [1_005n, 15n, 100n, 'down', 150n],
    [1_005n, 15n, 100n, 'up', 151n],
    [1_005n, 15n, 100n, 'half_even', 151n],
    [10n, 15n, 100n, 'half_even', 2n],
    [10n, 25n, 100n, 'half_even', 2n],
    [-10n, 25n, 100n, 'half_even', -2n],
    [-1_005n, 15n, 100n, 'up', -151n],
    [200n, 15n, 100n, 'up', 30n],
  ] as const)('%p × %p / %p, %s', (amount, numerator, denominator, rounding, expected) => {
    expect(portion(amount, numerator, denominator, rounding)).toBe(expected as never)
  })

  test('are less than a unit from the exact value, on the side that was asked for', () => {
    const args = [fc.bigInt(-(10n ** 24n), 10n ** 24n), fc.bigInt(0n, 10n ** 9n)] as const
    fc.assert(
      fc.property(...args, fc.bigInt(1n, 10n ** 9n), (amount, numerator, denominator) => {
        const exact = amount * numerator
        const of = (rounding: 'down' | 'up' | 'half_even') =>
          portion(amount, numerator, denominator, rounding) * denominator - exact
        const size = (value: bigint) => (value < 0n ? -value : value)
        expect(size(of('down')) < denominator && size(of('up')) < denominator).toBe(true)
        expect(size(of('half_even')) * 2n <= denominator).toBe(true)
        expect(exact < 0n ? of('down') >= 0n : of('down') <= 0n).toBe(true)
      }),
    )
  })
})
