import { Secret, TOTP } from 'otpauth'
import type { Kernel } from '../../src/kernel/kernel.ts'
import { placeOf } from '../../src/vault/vault.ts'

/** Second factors of the people of tests. */

/** What an authenticator app shows that was given this secret (base32). */
export function codeFor(secret: string, atMs: number): string {
  return new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: atMs })
}

/** Gives somebody a second factor without asking them; sessions stay as they are. */
export async function giveFactor(
  { db, vault, clock }: Pick<Kernel, 'db' | 'vault' | 'clock'>,
  userId: string,
): Promise<void> {
  const sealed = vault.seal(placeOf('second_factors', 'secret', userId), new Secret().bytes)
  await db.sql`
    insert into second_factors (user_id, secret, enabled_at)
    values (${userId}, ${sealed}, ${clock.date()})
    on conflict (user_id) do update
    set secret = excluded.secret, enabled_at = excluded.enabled_at, last_step = null`
}

/**
 * A code of somebody's second factor that is accepted now, whatever codes were before: a test does
 * not wait half a minute for the next.
 */
export async function freshCode(
  { db, vault, clock }: Pick<Kernel, 'db' | 'vault' | 'clock'>,
  userId: string,
): Promise<string> {
  const [row] = await db.sql`
    update second_factors set last_step = null
    where user_id = ${userId} and enabled_at is not null returning secret`
  if (row === undefined) throw new Error(`${userId} has no second factor: use giveFactor`)
  const secret = vault.open(placeOf('second_factors', 'secret', userId), row.secret as Uint8Array)
  return codeFor(new Secret({ buffer: Uint8Array.from(secret).buffer }).base32, clock.now())
}
