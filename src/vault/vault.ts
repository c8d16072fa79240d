import { createHash, hkdfSync } from 'node:crypto'
import { randomBytes } from '../base/ids.ts'
import {
  XAES_NONCE_BYTES,
  XAES_TAG_BYTES,
  type XaesKey,
  xaesKey,
  xaesOpen,
  xaesSeal,
} from './xaes.ts'

/**
 * Secrets at rest: AES-256-GCM with long nonces (`xaes.ts`) under keys derived from the master keys
 * (HKDF, RFC 5869), so that no other use of a master key shares a key with this one.
 *
 * What it promises against somebody who can write to the database: a value opens only where it was
 * sealed, since table, column and row are authenticated with it, as are version and key id; edited
 * or cut anywhere it does not open; both failures say the same. What it does not: an older value of
 * the same place still opens when put back there, and the length of a secret shows.
 *
 * Nonces are random. A key may seal 2^80 values, so that nobody has to count; keys are changed for
 * other reasons (`docs/security-keys.md`).
 *
 * Form: version (1 byte), key id (4), nonce (24), ciphertext, tag (16). The version is no first
 * byte of JSON, by which columns with sealed and plain values tell them apart.
 */
export interface Vault {
  /** Id of the key that seals now: 8 hexadecimal digits that say nothing of the key. */
  readonly keyId: string
  /** Ids of all keys that open, the one that seals first. */
  readonly keyIds: readonly string[]
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

/** First byte of every sealed value. */
export const SEAL_VERSION = 1
const KEY_ID_BYTES = 4
const HEAD_BYTES = 1 + KEY_ID_BYTES
const NONCE_END = HEAD_BYTES + XAES_NONCE_BYTES

/** What sealing adds to the length of a secret, in bytes. */
export const SEAL_BYTES = NONCE_END + XAES_TAG_BYTES

interface Key {
  readonly id: string
  readonly secret: Buffer
  readonly cipher: XaesKey
  /** Version and key id, as every value of this key begins. */
  readonly head: Buffer
}

const SQL_NAME = /^[a-z][a-z0-9_]*$/

/**
 * The place of a secret in the database. Names hold neither `.` nor `:`, so that no two places have
 * the same text.
 */
export function placeOf(table: string, column: string, rowId: string): string {
  if (!SQL_NAME.test(table) || !SQL_NAME.test(column)) {
    throw new Error(`not the name of a column: ${table}.${column}`)
  }
  return `${table}.${column}:${rowId}`
}

function keyOf(master: Uint8Array): Key {
  if (master.byteLength !== 32) throw new Error('a master key has 32 bytes')
  const secret = Buffer.from(hkdfSync('sha256', master, '', 'rialto vault', 32))
  const id = createHash('sha256').update('rialto vault id').update(secret).digest()
  const head = Buffer.concat([Buffer.from([SEAL_VERSION]), id.subarray(0, KEY_ID_BYTES)])
  return { id: head.subarray(1).toString('hex'), secret, cipher: xaesKey(secret), head }
}

/** The keys by id; the same one twice is one. @throws Error for two with the same id */
function keyTable(keys: readonly Key[]): ReadonlyMap<string, Key> {
  const byId = new Map<string, Key>()
  for (const key of keys) {
    const known = byId.get(key.id) ?? key
    // One chance in four thousand million: choose another.
    if (!known.secret.equals(key.secret)) throw new Error('two master keys have the same id')
    byId.set(key.id, known)
  }
  return byId
}

/** A vault over the master keys (32 bytes each), of which the first seals and all open. */
export function createVault(masterKeys: readonly Uint8Array[]): Vault {
  const keys = masterKeys.map(keyOf)
  const byId = keyTable(keys)
  const [current] = keys
  if (current === undefined) throw new Error('no master key')
  const keyIdOf = (sealed: Uint8Array) =>
    sealed[0] === SEAL_VERSION && sealed.byteLength >= SEAL_BYTES
      ? Buffer.from(sealed.subarray(1, HEAD_BYTES)).toString('hex')
      : undefined
  return {
    keyId: current.id,
    keyIds: [...byId.keys()],
    keyIdOf,
    seal(place, secret) {
      const nonce = randomBytes(XAES_NONCE_BYTES)
      const associated = Buffer.concat([current.head, Buffer.from(place)])
      const text = xaesSeal(current.cipher, nonce, secret, associated)
      return Buffer.concat([current.head, nonce, text])
    },
    open(place, sealed) {
      const id = keyIdOf(sealed)
      if (id === undefined) throw new VaultError('Not a sealed value')
      const key = byId.get(id)
      if (key === undefined) throw new VaultError(`Sealed with key ${id}, which is not among ours`)
      const nonce = sealed.subarray(HEAD_BYTES, NONCE_END)
      const associated = Buffer.concat([key.head, Buffer.from(place)])
      try {
        return xaesOpen(key.cipher, nonce, sealed.subarray(NONCE_END), associated)
      } catch (error) {
        throw new VaultError('Changed, or sealed for another place', { cause: error })
      }
    },
  }
}
