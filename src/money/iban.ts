/** International bank account numbers (ISO 13616), those that a euro transfer can reach. */

/**
 * Length of an IBAN by country: those of the SEPA schemes (European Payments Council, EPC409-09),
 * because a SEPA credit transfer reaches no others. From the IBAN registry of SWIFT.
 */
const LENGTHS = new Map(
  (
    'AD24 AL28 AT20 BE16 BG22 CH21 CY28 CZ24 DE22 DK18 EE20 ES24 FI18 FR27 GB22 GI23 GR27 HR21 ' +
    'HU28 IE22 IS26 IT27 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MT31 NL18 NO15 PL28 PT25 RO24 ' +
    'RS22 SE24 SI19 SK24 SM27 VA22'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))] as const),
)

/** An IBAN as people write it: spaces do not count, nor does case. */
export const IBAN_PATTERN = '^[A-Za-z]{2}[0-9]{2}[A-Za-z0-9 ]{8,40}$'

/**
 * Reads an IBAN: its electronic form, undefined for what is none. The two check digits find every
 * single wrong character and every swap of neighbours (ISO 7064, MOD 97-10).
 *
 * @example ibanOf('de75 5121 0800 1245 1261 99') // 'DE75512108001245126199'
 */
export function ibanOf(text: string): string | undefined {
  const iban = text.replaceAll(' ', '').toUpperCase()
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]+$/.test(iban)) return undefined
  if (LENGTHS.get(iban.slice(0, 2)) !== iban.length) return undefined
  // Check digits are made as 98 less a remainder: 00, 01 and 99 are never right.
  if (/^..(00|01|99)/.test(iban)) return undefined
  return remainderOf(iban.slice(4) + iban.slice(0, 4)) === 1 ? iban : undefined
}

/** The remainder by 97 of a text with letters counted as 10 to 35. */
function remainderOf(text: string): number {
  let remainder = 0
  for (const character of text) {
    const value = Number.parseInt(character, 36)
    remainder = (remainder * (value > 9 ? 100 : 10) + value) % 97
  }
  return remainder
}

/** What may be shown of an IBAN where it is not needed: `DE75…6199`. */
export const maskedIban = (iban: string) => `${iban.slice(0, 4)}…${iban.slice(-4)}`
