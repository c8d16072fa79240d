import { createCipheriv, createDecipheriv, createHash, hkdfSync } from 'node:crypto'
import { randomBytes } from './ids.ts'

/**
 * Secrets at rest: AES-256-GCM (NIST SP 800-38D) under keys derived from the master keys (HKDF, RFC
 * 5869). The text of a sealed value is bound to the place it was made for, so that a ciphertext
 * moved to another row, column or table does not open there.
 *
 * Form: version (1 byte), key id (4), nonce (12), ciphertext, tag (16).
 */
export interface Vault {
  /** Id of the key that seals now. */
  readonly keyId: string
  /**
   * Seals a secret.
   * @param place what it is bound to: table, column and row id, as `placeOf` joins them
   */
  seal(place: string, secret: string | Uint8Array): Buffer
  /**
   * Opens what was sealed for `place`.
   * @throws VaultError when it was sealed elsewhere, was changed, or its key is not among ours
   */
  open(place: string, sealed: Uint8Array): Buffer
  /** Id of the key that a value was sealed with; undefined for what is none. */
  keyIdOf(sealed: Uint8Array): string | undefined
}

/** A sealed value that does not open. Says why, and nothing of what is inside. */
export class VaultError extends Error {
  override readonly name = 'VaultError'
}

const VERSION = 1
const KEY_ID_BYTES = 4
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = 1 + KEY_ID_BYTES

interface Key {
  readonly id: string
  readonly bytes: Buffer
}

/** The place of a secret in the database. */
export function placeOf(table: string, column: string, rowId: string): string {
  return `${table}.${column}:${rowId}`
}

function keyOf(master: Uint8Array): Key {
  const bytes = Buffer.from(hkdfSync('sha256', master, '', 'rialto vault', 32))
  const id = createHash('sha256').update('rialto vault id').update(bytes).digest('hex')
  return { bytes, id: id.slice(0, KEY_ID_BYTES * 2) }
}

/** A vault over the master keys, of which the first seals and all open. */
export function createVault(masterKeys: readonly Uint8Array[]): Vault {
  const keys = masterKeys.map(keyOf)
  const [current] = keys
  if (current === undefined) throw new Error('no master key')
  const keyIdOf = (sealed: Uint8Array) =>
    sealed[0] === VERSION && sealed.byteLength >= HEAD_BYTES + NONCE_BYTES + TAG_BYTES
      ? Buffer.from(sealed.subarray(1, HEAD_BYTES)).toString('hex')
      : undefined
  return {
    keyId: current.id,
    keyIdOf,
    seal(place, secret) {
      const nonce = randomBytes(NONCE_BYTES)
      const head = Buffer.from([VERSION, ...Buffer.from(current.id, 'hex')])
      const cipher = createCipheriv('aes-256-gcm', current.bytes, nonce)
      cipher.setAAD(Buffer.concat([head, Buffer.from(place)]))
      const text = Buffer.concat([cipher.update(secret), cipher.final()])
      return Buffer.concat([head, nonce, text, cipher.getAuthTag()])
    },
    open(place, sealed) {
      const id = keyIdOf(sealed)
      if (id === undefined) throw new VaultError('Not a sealed value')
      const key = keys.find((one) => one.id === id)
      if (key === undefined) throw new VaultError(`Sealed with key ${id}, which is not among ours`)
      const bytes = Buffer.from(sealed)
      const nonceEnd = HEAD_BYTES + NONCE_BYTES
      const decipher = createDecipheriv(
        'aes-256-gcm',
        key.bytes,
        bytes.subarray(HEAD_BYTES, nonceEnd),
      )
      decipher.setAAD(Buffer.concat([bytes.subarray(0, HEAD_BYTES), Buffer.from(place)]))
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
      try {
        return Buffer.concat([
          decipher.update(bytes.subarray(nonceEnd, -TAG_BYTES)),
          decipher.final(),
        ])
      } catch (error) {
        throw new VaultError('Changed, or sealed for another place', { cause: error })
      }
    },
  }
}
