import type { SQL } from 'bun'
import { Failure } from '../../base/errors.ts'

/** What is known of an account when its row is locked. */
export interface LockedUser {
  readonly id: string
  readonly email: string
  readonly locale: 'en' | 'fr'
  readonly time_zone: string
  readonly password_hash: string | null
  readonly email_verified_at: Date | null
  readonly blocked_at: Date | null
  /** Kept by the configuration: neither its address nor its password is changed here. */
  readonly environment_admin: boolean
}

/**
 * Locks an account, so that its changes come one after the other; undefined when it is closed.
 * Whoever signs in at the same time waits, and is then found among the sessions.
 */
export async function lockUser(sql: SQL, userId: string): Promise<LockedUser | undefined> {
  const [user] = (await sql`
    select id, email, locale, time_zone, password_hash, email_verified_at, blocked_at,
      environment_admin
    from users where id = ${userId} and closed_at is null for no key update`) as LockedUser[]
  return user
}

/** @throws Failure `forbidden` for the account that the configuration keeps */
export function refuseEnvironmentAdmin({ environment_admin }: LockedUser): void {
  if (!environment_admin) return
  throw new Failure('forbidden', 'This account is kept by ADMIN_USERNAME and ADMIN_PASSWORD_HASH')
}
