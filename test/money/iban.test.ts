import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { ibanOf, maskedIban } from '../../src/money/iban.ts'

describe('taken are', () => {
  // The examples of the IBAN registry (SWIFT), one a country.
  test.each([
    'AD1200012030200359100100',
    'AT611904300234573201',
    'BE68539007547034',
    'BG80BNBG96611020345678',
    'CH9300762011623852957',
    'CY17002001280000001200527600',
    'CZ6508000000192000145399',
    'DE89370400440532013000',
    'DK5000400440116243',
    'EE382200221020145685',
    'ES9121000418450200051332',
    'FI2112345600000785',
    'FR1420041010050500013M02606',
    'GB29NWBK60161331926819',
    'GI75NWBK000000007099453',
    'GR1601101250000000012300695',
    'HR1210010051863000160',
    'HU42117730161111101800000000',
    'IE29AIBK93115212345678',
    'IS140159260076545510730339',
    'IT60X0542811101000000123456',
    'LI21088100002324013AA',
    'LT121000011101001000',
    'LU280019400644750000',
    'LV80BANK0000435195001',
    'MC5811222000010123456789030',
    'MT84MALT011000012345MTLCAST001S',
    'NL91ABNA0417164300',
    'NO9386011117947',
    'PL61109010140000071219812874',
    'PT50000201231234567890154',
    'RO49AAAA1B31007593840000',
    'SE4550000000058398257466',
    'SI56263300012039086',
    'SK3112000000198742637541',
    'SM86U0322509800000000270100',
    'VA59001123000012345678',
  ])('%s', (iban) => {
    expect(ibanOf(iban)).toBe(iban)
    const spaced = iban.replaceAll(/(.{4})/g, '$1 ').toLowerCase()
    expect(ibanOf(spaced)).toBe(iban)
  })
})

describe('refused are', () => {
  test.each([
    ['', 'nothing'],
    ['DE89370400440532013001', 'a wrong digit'],
    ['DE98370400440532013000', 'swapped check digits'],
    ['DE8937040044053201300', 'a digit too few'],
    ['DE893704004405320130000', 'a digit too many'],
    ['US64SVBKUS6S3300958879', 'a country outside the SEPA area'],
    ['XX89370400440532013000', 'no country'],
    ['DE8937040044053201300é', 'another letter'],
    ['GB00NWBK60161331926819', 'check digits that nobody makes'],
  ])('%s (%s)', (iban) => {
    expect(ibanOf(iban)).toBeUndefined()
  })

  test('every single wrong digit and every swap of unlike neighbours', () => {
    const iban = 'DE89370400440532013000'
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 21 }), fc.integer({ min: 1, max: 9 }), (at, by) => {
        const digit = (Number(iban[at]) + by) % 10
        expect(ibanOf(iban.slice(0, at) + digit + iban.slice(at + 1))).toBeUndefined()
      }),
    )
    for (let at = 2; at < 21; at++) {
      if (iban[at] === iban[at + 1]) continue
      const swapped = iban.slice(0, at) + iban[at + 1]! + iban[at]! + iban.slice(at + 2)
      expect(ibanOf(swapped)).toBeUndefined()
    }
  })
})

test('masked, it says the country and four digits', () => {
  expect(maskedIban('DE89370400440532013000')).toBe('DE89…3000')
})
