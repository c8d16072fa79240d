import { createCipheriv, createDecipheriv } from 'node:crypto'

/**
 * XAES-256-GCM (C2SP, c2sp.org/XAES-256-GCM): AES-256-GCM under a key of its own for every nonce.
 * From the first half of a 24-byte nonce and the key comes another key by a key derivation function
 * in counter mode with CMAC (NIST SP 800-108r1); the second half is the nonce of AES-256-GCM (NIST
 * SP 800-38D) under that.
 *
 * Why not plain AES-256-GCM: its nonces of 12 bytes may be drawn at random 2^32 times under one
 * key, which somebody would have to count. These may be drawn 2^80 times.
 */

/** Length of a nonce, in bytes. */
export const XAES_NONCE_BYTES = 24
/** Length of the tag after the ciphertext, in bytes. */
export const XAES_TAG_BYTES = 16

const BLOCK_BYTES = 16
const HALF_NONCE_BYTES = 12

/** A key made ready: 32 bytes and the first subkey of its CMAC. */
export interface XaesKey {
  readonly bytes: Buffer
  readonly subkey: Buffer
}

/** AES-256 of whole blocks, as the derivation wants it: nothing is encrypted so. */
function blocks(key: Buffer, input: Buffer): Buffer {
  const cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false)
  return Buffer.concat([cipher.update(input), cipher.final()])
}

/** Makes a key of 32 bytes ready. @throws Error for another length */
export function xaesKey(key: Uint8Array): XaesKey {
  const bytes = Buffer.from(key)
  const zero = blocks(bytes, Buffer.alloc(BLOCK_BYTES))
  const subkey = Buffer.alloc(BLOCK_BYTES)
  // Doubling in GF(2^128), without a branch on what is secret (NIST SP 800-38B, 6.1).
  for (let i = 0; i < BLOCK_BYTES; i++) {
    subkey[i] = (zero[i]! << 1) | ((zero[i + 1] ?? 0) >> 7)
  }
  subkey[BLOCK_BYTES - 1]! ^= 0x87 * (zero[0]! >> 7)
  return { bytes, subkey }
}

/** The key for one nonce. */
function derived({ bytes, subkey }: XaesKey, nonce: Uint8Array): Buffer {
  const input = Buffer.alloc(2 * BLOCK_BYTES)
  for (const counter of [1, 2]) {
    const at = (counter - 1) * BLOCK_BYTES
    input.set([0, counter, 0x58, 0], at)
    input.set(nonce.subarray(0, HALF_NONCE_BYTES), at + 4)
    for (let i = 0; i < BLOCK_BYTES; i++) input[at + i]! ^= subkey[i]!
  }
  return blocks(bytes, input)
}

/** Encrypts; returns ciphertext and tag. The nonce must be random or otherwise never used twice. */
export function xaesSeal(
  key: XaesKey,
  nonce: Uint8Array,
  text: string | Uint8Array,
  associated: Uint8Array,
): Buffer {
  const inner = nonce.subarray(HALF_NONCE_BYTES, XAES_NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', derived(key, nonce), inner)
  cipher.setAAD(associated)
  return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()])
}

/**
 * Decrypts ciphertext and tag.
 * @throws Error when anything was changed; nothing of the text has been given out by then
 */
export function xaesOpen(
  key: XaesKey,
  nonce: Uint8Array,
  sealed: Uint8Array,
  associated: Uint8Array,
): Buffer {
  const inner = nonce.subarray(HALF_NONCE_BYTES, XAES_NONCE_BYTES)
  const options = { authTagLength: XAES_TAG_BYTES }
  const decipher = createDecipheriv('aes-256-gcm', derived(key, nonce), inner, options)
  decipher.setAAD(associated)
  decipher.setAuthTag(sealed.subarray(-XAES_TAG_BYTES))
  return Buffer.concat([decipher.update(sealed.subarray(0, -XAES_TAG_BYTES)), decipher.final()])
}
