import { Failure } from '../base/errors.ts'
import { t } from '../base/schema.ts'

/**
 * Money: integers of an asset's minor unit (cents, millisatoshi, wei) inside, decimal text on the
 * wire. It never is a `number`.
 */

declare const minorBrand: unique symbol
/** An amount in minor units of some asset. */
export type Minor = bigint & { readonly [minorBrand]: true }

/** Marks an integer as an amount; for constants, and for what the database has given. */
export const minor = (value: bigint): Minor => value as Minor

/** What can be owned. */
export interface Asset {
  /** `EUR`, `MSAT`, `TK`. */
  readonly code: string
  readonly name: string
  /** Decimals of the unit that people see: 2 for euros, whose minor unit is the cent. */
  readonly scale: number
  /** Users may send it to each other. */
  readonly transferable: boolean
}

/** Far above everything that exists of any asset, far below what the database could not hold. */
const DIGITS_MAX = 40

const DECIMAL = new RegExp(`^(\\d{1,${DIGITS_MAX}})(?:\\.(\\d{1,18}))?$`)

/** An amount on the wire: decimal text without sign, exponent or spaces. */
export const Amount = t.String({
  pattern: `^(0|[1-9][0-9]{0,${DIGITS_MAX - 1}})(\\.[0-9]{1,18})?$`,
  maxLength: DIGITS_MAX + 19,
  description: 'Decimal text in the unit that people see: `12.50` euros, `21000` millisatoshi',
  examples: ['12.50'],
})
/** Code of an asset on the wire. */
export const AssetCode = t.String({
  pattern: '^[A-Z][A-Z0-9]{1,11}$',
  description: 'EUR, MSAT, T4G, TK, TKI',
  examples: ['EUR'],
})

/**
 * Reads an amount of the wire.
 *
 * @param path where it stands in the input, for the error
 * @throws Failure `validation_failed` for zero and for more decimals than the asset has
 * @example parseAmount('12.50', eur) // 1250n
 */
export function parseAmount(text: string, { code, scale }: Asset, path = '/amount'): Minor {
  const match = DECIMAL.exec(text)
  if (match === null) throw invalid(path, 'is not a decimal amount')
  const [, whole = '', fraction = ''] = match
  if (fraction.length > scale) {
    throw invalid(path, `${code} has ${scale} decimals at most`)
  }
  const value = BigInt(whole + fraction.padEnd(scale, '0'))
  if (value === 0n) throw invalid(path, 'must be more than zero')
  return minor(value)
}

/** Writes an amount as people read it, with all decimals of the asset: 1250 cents are `12.50`. */
export function formatAmount(value: bigint, { scale }: Pick<Asset, 'scale'>): string {
  const sign = value < 0n ? '-' : ''
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, '0')
  if (scale === 0) return sign + digits
  return `${sign}${digits.slice(0, -scale)}.${digits.slice(-scale)}`
}

function invalid(path: string, message: string): Failure {
  return new Failure('validation_failed', `Invalid amount: ${message}`, {
    errors: [{ path, message }],
  })
}
