import { createHash } from 'node:crypto'
import { expect, test } from 'bun:test'
import { XAES_NONCE_BYTES, xaesKey, xaesOpen, xaesSeal } from '../../src/vault/xaes.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** The vectors of the specification (c2sp.org/XAES-256-GCM), one for either value of a bit. */
const VECTORS = [
  {
    key: Buffer.alloc(32, 1),
    associated: '',
    sealed: 'ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271',
  },
  {
    key: Buffer.alloc(32, 3),
    associated: 'c2sp.org/XAES-256-GCM',
    sealed: '986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d',
  },
]
const NONCE = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWX')

test.each(VECTORS)('is XAES-256-GCM: $sealed', ({ key, associated, sealed }) => {
  const ready = xaesKey(key)
  expect(hex(xaesSeal(ready, NONCE, 'XAES-256-GCM', Buffer.from(associated)))).toBe(sealed)
  const opened = xaesOpen(ready, NONCE, Buffer.from(sealed, 'hex'), Buffer.from(associated))
  expect(opened.toString()).toBe('XAES-256-GCM')
})

test('is XAES-256-GCM for the 10,000 accumulated vectors of the specification', () => {
  // Keys, nonces, texts and associated data are read from SHAKE128 of nothing, one after another.
  const stream = createHash('shake128', { outputLength: 10_000 * (32 + 24 + 2 * 256) }).digest()
  let at = 0
  const read = (length: number) => stream.subarray(at, (at += length))
  const results = createHash('shake128', { outputLength: 32 })
  for (let i = 0; i < 10_000; i++) {
    const key = xaesKey(read(32))
    const nonce = read(XAES_NONCE_BYTES)
    const text = read(read(1)[0]!)
    const associated = read(read(1)[0]!)
    const sealed = xaesSeal(key, nonce, text, associated)
    if (!xaesOpen(key, nonce, sealed, associated).equals(text)) throw new Error(`vector ${i}`)
    results.update(sealed)
  }
  expect(results.digest('hex')).toBe(
    'e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939',
  )
})
