import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { createVault, placeOf, type Vault, VaultError } from '../../src/vault/vault.ts'

const master = (byte: number) => new Uint8Array(32).fill(byte)
const vault = createVault([master(1)])
const PLACE = placeOf('totp_factors', 'secret', '0198d5a0-0000-7000-8000-000000000001')
const SECRET = 'JBSWY3DPEHPK3PXP'

const opens = (by: Vault, place: string, sealed: Uint8Array) => {
  try {
    return by.open(place, sealed).toString()
  } catch (error) {
    if (error instanceof VaultError) return 'refused'
    throw error
  }
}

describe('a sealed value', () => {
  test('opens where it was sealed, whatever it holds', () => {
    const run = fc.property(fc.string(), fc.uint8Array(), (id, secret) => {
      const place = placeOf('a_table', 'a_column', id)
      expect(vault.open(place, vault.seal(place, secret))).toEqual(Buffer.from(secret))
    })
    fc.assert(run)
  })

  test('shows nothing of the secret but its length, and is another one each time', () => {
    const sealed = Array.from({ length: 100 }, () => vault.seal(PLACE, SECRET))
    expect(new Set(sealed.map((one) => one.toString('hex'))).size).toBe(100)
    for (const one of sealed) {
      expect(one.includes(SECRET)).toBe(false)
      expect(one.byteLength).toBe(SECRET.length + 45)
    }
  })

  test('is refused in another row, column or table', () => {
    const sealed = vault.seal(placeOf('t', 'c', '1'), SECRET)
    const elsewhere: [string, string, string][] = [
      ['t', 'c', '2'],
      ['t', 'd', '1'],
      ['u', 'c', '1'],
      ['t', 'c', ''],
      ['t', 'c', '1 '],
    ]
    for (const [table, column, id] of elsewhere) {
      expect(opens(vault, placeOf(table, column, id), sealed)).toBe('refused')
    }
    expect(opens(vault, placeOf('t', 'c', '1'), sealed)).toBe(SECRET)
  })

  test('is refused when any bit of it is another', () => {
    const sealed = vault.seal(PLACE, SECRET)
    for (let bit = 0; bit < sealed.byteLength * 8; bit++) {
      const edited = Buffer.from(sealed)
      edited[bit >> 3]! ^= 1 << (bit & 7)
      expect(opens(vault, PLACE, edited)).toBe('refused')
    }
  })

  test('is refused when cut or made longer, at either end', () => {
    const sealed = vault.seal(PLACE, SECRET)
    for (let length = 0; length < sealed.byteLength; length++) {
      expect(opens(vault, PLACE, sealed.subarray(0, length))).toBe('refused')
      expect(opens(vault, PLACE, sealed.subarray(sealed.byteLength - length))).toBe('refused')
    }
    expect(opens(vault, PLACE, Buffer.concat([sealed, Buffer.alloc(1)]))).toBe('refused')
    expect(opens(vault, PLACE, Buffer.concat([Buffer.alloc(1), sealed]))).toBe('refused')
  })

  test('is refused when put together from two of the same place', () => {
    const [one, two] = [vault.seal(PLACE, SECRET), vault.seal(PLACE, SECRET)]
    // Not so near to an end that what is left there may be the same by chance.
    for (let at = 14; at < one.byteLength - 8; at++) {
      const spliced = Buffer.concat([one.subarray(0, at), two.subarray(at)])
      expect(opens(vault, PLACE, spliced)).toBe('refused')
    }
  })

  test('of arbitrary bytes is refused and never anything else', () => {
    const bytes = fc.uint8Array({ maxLength: 200 })
    const head = Buffer.concat([Buffer.from([1]), Buffer.from(vault.keyId, 'hex')])
    const run = fc.property(bytes, fc.boolean(), (noise, ours) => {
      const forged = ours ? Buffer.concat([head, noise]) : noise
      expect(opens(vault, PLACE, forged)).toBe('refused')
    })
    fc.assert(run)
  })

  test('says no more than that it does not open, edited or moved alike', () => {
    const sealed = vault.seal(PLACE, SECRET)
    const edited = Buffer.from(sealed)
    edited[40]! ^= 1
    const messages = [
      () => vault.open(PLACE, edited),
      () => vault.open(placeOf('t', 'c', '1'), sealed),
    ].map((act) => {
      expect(act).toThrow(VaultError)
      try {
        return act()
      } catch (error) {
        return (error as Error).message
      }
    })
    expect(new Set(messages).size).toBe(1)
  })
})

describe('several master keys', () => {
  const [old, fresh] = [createVault([master(1)]), createVault([master(2)])]
  const both = createVault([master(2), master(1)])

  test('the first seals, all open', () => {
    expect(both.keyId).toBe(fresh.keyId)
    expect(both.keyIds).toEqual([fresh.keyId, old.keyId])
    expect(opens(both, PLACE, old.seal(PLACE, SECRET))).toBe(SECRET)
    const sealed = both.seal(PLACE, SECRET)
    expect(both.keyIdOf(sealed)).toBe(fresh.keyId)
    expect(opens(fresh, PLACE, sealed)).toBe(SECRET)
    expect(opens(old, PLACE, sealed)).toBe('refused')
  })

  test('a value cannot be made another key’s by its key id', () => {
    const sealed = old.seal(PLACE, SECRET)
    sealed.set(Buffer.from(fresh.keyId, 'hex'), 1)
    expect(opens(both, PLACE, sealed)).toBe('refused')
  })

  test('the same one twice is one; one of another length, or none, is refused', () => {
    expect(createVault([master(1), master(1)]).keyIds).toEqual([old.keyId])
    expect(() => createVault([master(1), new Uint8Array(16)])).toThrow('32 bytes')
    expect(() => createVault([])).toThrow('no master key')
  })
})

test('a plain value is told from a sealed one', () => {
  expect(vault.keyIdOf(vault.seal(PLACE, ''))).toBe(vault.keyId)
  for (const text of ['', '{}', `{"token":"${'x'.repeat(100)}"}`, '[]', '"text"', 'null']) {
    expect(vault.keyIdOf(Buffer.from(text))).toBeUndefined()
  }
})

test('no two places have the same text', () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/)
  const place = fc.tuple(name, name, fc.string())
  const run = fc.property(place, place, (one, two) => {
    const same = JSON.stringify(one) === JSON.stringify(two)
    expect(placeOf(...one) === placeOf(...two)).toBe(same)
  })
  fc.assert(run)
  expect(() => placeOf('a.b', 'c', '1')).toThrow('not the name of a column')
  expect(() => placeOf('a', 'b:c', '1')).toThrow('not the name of a column')
})
