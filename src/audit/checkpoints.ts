import { createPublicKey, sign, verify } from 'node:crypto'
import { mkdir, open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { AuditKey, AuditKeys } from './keys.ts'

/**
 * Signed statements of where the chain stood, kept outside the database: whoever can change the
 * database can neither change nor forge them, and what they say must be found there.
 */

/** A place in the chain. */
export interface ChainPoint {
  readonly position: number
  readonly hash: Buffer
  /** When its line was sealed, in milliseconds since the epoch. */
  readonly sealedAtMs: number
}

/**
 * `checkpoint`: the chain has come to here. `trim`: everything up to here was dropped, being older
 * than the log is kept. `restored`: the database was restored from a backup and what was sealed
 * after this place is lost; earlier checkpoints beyond it no longer count.
 */
export const CHECKPOINT_KINDS = ['checkpoint', 'trim', 'restored'] as const
export type CheckpointKind = (typeof CHECKPOINT_KINDS)[number]

/** A signed checkpoint as it stands in files, one line of JSON each. */
export interface Checkpoint {
  readonly kind: CheckpointKind
  readonly position: number
  /** Hexadecimal. */
  readonly hash: string
  /** When its line was sealed, and when this was written: RFC 3339. */
  readonly sealed_at: string
  readonly at: string
  readonly key_id: string
  /** Ed25519 (RFC 8032): 32 bytes as base64url, to be compared with the published one. */
  readonly public_key: string
  /** Over the text that `signedText` makes, as base64url. */
  readonly signature: string
}

/** What is signed: the fields in this order as a JSON list. */
function signedText(checkpoint: Omit<Checkpoint, 'public_key' | 'signature'>): Buffer {
  const { kind, position, hash, sealed_at, at, key_id } = checkpoint
  return Buffer.from(
    JSON.stringify(['rialto audit checkpoint 1', kind, position, hash, sealed_at, at, key_id]),
  )
}

/** Signs a statement about `point`. */
export function makeCheckpoint(
  key: AuditKey,
  clock: Clock,
  kind: CheckpointKind,
  point: ChainPoint,
): Checkpoint {
  const said = {
    kind,
    position: point.position,
    hash: point.hash.toString('hex'),
    sealed_at: new Date(point.sealedAtMs).toISOString(),
    at: clock.iso(),
    key_id: key.id,
  }
  const signature = sign(null, signedText(said), key.sign).toString('base64url')
  return { ...said, public_key: key.publicKey, signature }
}

/** Whether one of our keys has signed it; the public key in it is for people and counts nothing. */
export function isGenuine(checkpoint: Checkpoint, keys: AuditKeys): boolean {
  const key = keys.known.get(checkpoint.key_id)
  if (key === undefined) return false
  const publicKey = createPublicKey({
    key: { kty: 'OKP', crv: 'Ed25519', x: key.publicKey },
    format: 'jwk',
  })
  const signature = Buffer.from(checkpoint.signature, 'base64url')
  return verify(null, signedText(checkpoint), publicKey, signature)
}

/** The checkpoint in a line of a file; undefined for what is none. */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  let value: Partial<Checkpoint> | null
  try {
    value = JSON.parse(text) as Partial<Checkpoint> | null
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const texts = ['hash', 'sealed_at', 'at', 'key_id', 'public_key', 'signature'] as const
  const whole =
    Number.isSafeInteger(value.position) &&
    CHECKPOINT_KINDS.includes(value.kind as CheckpointKind) &&
    texts.every((name) => typeof value[name] === 'string') &&
    !Number.isNaN(Date.parse(value.sealed_at as string))
  return whole ? (value as Checkpoint) : undefined
}

/** Files of checkpoints, one a month. */
export const CHECKPOINT_FILE = /^checkpoints-\d{4}-\d{2}\.ndjson$/

/**
 * Appends a checkpoint to this month's file in each folder, on disk when this resolves.
 * @throws what the file system throws, after having tried every folder
 */
export async function exportCheckpoint(
  folders: readonly string[],
  checkpoint: Checkpoint,
): Promise<void> {
  const name = `checkpoints-${checkpoint.at.slice(0, 7)}.ndjson`
  const written = await Promise.allSettled(
    folders.map(async (folder) => {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      // Appending: several instances may share the folder, and a line is written at once.
      const file = await open(join(folder, name), 'a', 0o600)
      try {
        await file.appendFile(`${JSON.stringify(checkpoint)}\n`)
        await file.datasync()
      } finally {
        await file.close()
      }
    }),
  )
  for (const one of written) if (one.status === 'rejected') throw one.reason
}
