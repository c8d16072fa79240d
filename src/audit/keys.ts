import {
  createHash,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  type KeyObject,
} from 'node:crypto'
import type { SQL } from 'bun'
import { placeOf, type Vault, VaultError } from '../vault/vault.ts'

/**
 * The keys of the log. From each master key comes one secret (HKDF, RFC 5869), and from that two
 * keys: one that seals lines (HMAC-SHA-256), one that signs checkpoints (Ed25519, RFC 8032). The
 * secret is also kept in the database, sealed by the vault: what was sealed before the master key
 * was changed can still be verified when the old one is gone.
 */
export interface AuditKey {
  /** Names the secret without giving it away: 8 hexadecimal digits. */
  readonly id: string
  /** What both keys come from. 32 bytes. */
  readonly secret: Buffer
  /** Key of the seals. 32 bytes. */
  readonly seal: Buffer
  /** Key of the signatures. */
  readonly sign: KeyObject
  /** What the signatures are checked with, by anybody: 32 bytes as base64url. */
  readonly publicKey: string
}

/** All keys that are known, the one that seals now by itself. */
export interface AuditKeys {
  readonly current: AuditKey
  readonly known: ReadonlyMap<string, AuditKey>
}

const ID_LENGTH = 8
/** An Ed25519 seed in PKCS #8 (RFC 8410) follows these bytes. */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')

const derive = (from: Uint8Array, purpose: string) =>
  Buffer.from(hkdfSync('sha256', from, '', purpose, 32))

/** The keys that come from one secret. */
function keyOfSecret(secret: Buffer): AuditKey {
  const seed = derive(secret, 'rialto audit checkpoint')
  const der = Buffer.concat([PKCS8_ED25519, seed])
  const sign = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const { x } = createPublicKey(sign).export({ format: 'jwk' })
  const id = createHash('sha256').update('rialto audit id').update(secret).digest('hex')
  return {
    id: id.slice(0, ID_LENGTH),
    secret,
    seal: derive(secret, 'rialto audit seal'),
    sign,
    publicKey: x as string,
  }
}

/** The keys that come from the master keys, of which the first seals. */
export function deriveKeys(masterKeys: readonly Uint8Array[]): AuditKeys {
  const keys = masterKeys.map((master) => keyOfSecret(derive(master, 'rialto audit')))
  const [current] = keys
  if (current === undefined) throw new Error('no master key')
  return { current, known: new Map(keys.map((key) => [key.id, key])) }
}

const place = (id: string) => placeOf('audit_keys', 'secret', id)

/** Keeps the secret that seals now for the time when its master key is gone. */
export async function keepKey(sql: SQL, vault: Vault, { current }: AuditKeys): Promise<void> {
  await sql`
    insert into audit_keys (id, secret)
    values (${current.id}, ${vault.seal(place(current.id), current.secret)})
    on conflict (id) do nothing`
}

/**
 * Adds the kept keys to those of the configuration. One that does not open (its master key was
 * lost, or somebody has changed it) is left out: what it sealed is then reported as such.
 */
export async function withKeptKeys(sql: SQL, vault: Vault, keys: AuditKeys): Promise<AuditKeys> {
  const known = new Map(keys.known)
  const rows = (await sql`select id, secret from audit_keys`) as {
    readonly id: string
    readonly secret: Uint8Array
  }[]
  for (const { id, secret } of rows) {
    if (known.has(id)) continue
    try {
      const key = keyOfSecret(vault.open(place(id), secret))
      if (key.id === id) known.set(id, key)
    } catch (error) {
      if (!(error instanceof VaultError)) throw error
    }
  }
  return { current: keys.current, known }
}
