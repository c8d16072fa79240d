import { type Minor, minor } from '../money/money.ts'

/**
 * Dividing money. Pure, exact, and every remainder has an owner: what the parts are rounded down by
 * goes, one unit each, to those whose part lost most by rounding (largest remainder method, also
 * Hamilton's); of equals, to the first.
 */

/**
 * Splits an amount in proportion to weights. The parts add up to the amount exactly, and each is
 * less than one unit from its exact share.
 *
 * @param total in minor units, not negative
 * @param weights not negative, at least one above zero
 * @throws RangeError for anything else: a bug of the caller, not of its client
 * @example proRata(100n, [1n, 1n, 1n]) // [34n, 33n, 33n]
 */
export function proRata(total: bigint, weights: readonly bigint[]): Minor[] {
  if (total < 0n) throw new RangeError(`cannot split ${total}`)
  let sum = 0n
  for (const weight of weights) {
    if (weight < 0n) throw new RangeError(`a weight of ${weight}`)
    sum += weight
  }
  if (sum === 0n) throw new RangeError('no weight above zero')
  const parts = weights.map((weight) => (total * weight) / sum)
  let left = total - parts.reduce((all, part) => all + part, 0n)
  const remainders = weights.map((weight, index) => ({ index, lost: (total * weight) % sum }))
  remainders.sort((a, b) => (a.lost === b.lost ? a.index - b.index : a.lost > b.lost ? -1 : 1))
  for (const { index } of remainders) {
    if (left === 0n) break
    parts[index] = (parts[index] as bigint) + 1n
    left -= 1n
  }
  return parts.map(minor)
}

/**
 * Splits an amount into equal parts; the first ones get the units that are left over.
 * @throws RangeError unless `count` is an integer above zero
 */
export function equalParts(total: bigint, count: number): Minor[] {
  if (!Number.isInteger(count) || count < 1) throw new RangeError(`${count} parts`)
  return proRata(
    total,
    Array.from({ length: count }, () => 1n),
  )
}

/** Which way a fraction goes. The names are those of IEEE 754 and ISO 80000. */
export type Rounding = 'down' | 'up' | 'half_even'

/**
 * `amount × numerator ÷ denominator`, rounded once. `down` is toward zero, `up` away from it,
 * `half_even` to the nearest, and from the middle to the even neighbour.
 *
 * @throws RangeError for a denominator that is not above zero
 * @example portion(1_005n, 15n, 100n, 'down') // 150n: a fee of 15 % on 10.05
 */
export function portion(
  amount: bigint,
  numerator: bigint,
  denominator: bigint,
  rounding: Rounding,
): Minor {
  if (denominator <= 0n) throw new RangeError(`a denominator of ${denominator}`)
  const product = amount * numerator
  const quotient = product / denominator
  const rest = product % denominator
  if (rest === 0n) return minor(quotient)
  const away = product < 0n ? quotient - 1n : quotient + 1n
  if (rounding === 'down') return minor(quotient)
  if (rounding === 'up') return minor(away)
  const twice = (rest < 0n ? -rest : rest) * 2n
  if (twice !== denominator) return minor(twice > denominator ? away : quotient)
  return minor(quotient % 2n === 0n ? quotient : away)
}
