/**
 * What mail there is: each letter by name, with what it must be told. How it reads stands in
 * `english.ts` and `french.ts`.
 *
 * Moments are RFC 3339 texts; links are absolute. No letter addresses its reader by name: whoever
 * registers chooses name and address, and would have us send their words to strangers.
 */

/** Where an act came from. */
export interface Origin {
  readonly at: string
  /** What kind of device, as `deviceName` says it; null when nobody knows. */
  readonly device: string | null
  /** Network address. */
  readonly address: string
}

interface Moment {
  readonly at: string
}
interface Link {
  readonly link: string
  /** When the link ends. Nothing is sent after that. */
  readonly expires_at: string
}
interface Recovery {
  /** When the second factor will be removed. */
  readonly completes_at: string
  /** Stops the recovery. */
  readonly link: string
}

/** What each letter must be told. */
export interface Letters {
  verify_email: Link
  unverified_reminder: Link & { readonly closes_at: string }
  reset_password: Link & Origin
  password_changed: Origin
  /** To the new address. */
  email_change_confirm: Link
  /** To the address that somebody else wanted for their account. */
  email_change_taken: Moment
  /** To the old address, with the link that takes the change back. */
  email_changed: Link & Origin & { readonly new_email: string }
  /** To both addresses, when the change was taken back. */
  email_reverted: Moment
  new_device: Origin
  mfa_enabled: Origin
  mfa_disabled: Origin
  recovery_code_used: Origin & { readonly codes_left: number }
  recovery_started: Origin & Recovery
  recovery_reminder: Recovery
  recovery_completed: Moment
  admin_invitation: Link & { readonly inviter: string }
  account_blocked: Moment & { readonly reason: string | null }
  account_unblocked: Moment
  account_closed: Moment
  account_export_ready: { readonly expires_at: string }
  /** To the administrators. */
  api_key_created: Moment & {
    readonly name: string
    readonly by: string
    readonly scopes: readonly string[]
  }
  /** To the administrators. */
  webhook_disabled: Moment & {
    /** Host of the address that is not sent to any more. */
    readonly host: string
    readonly because: 'gone' | 'failing' | 'key_ended'
  }
}
export type LetterName = keyof Letters

/** Whose mailbox a letter may reach by the time it is sent. */
export type Reach =
  /** The address that the account has now: a link that is worth something elsewhere is not sent. */
  | 'current'
  /** The address it was written to, also when the account has another since: it is about that. */
  | 'given'
  /** Also when the account is closed meanwhile. */
  | 'closed'

/** By letter. An account that is closed gets nothing but the notice of it. */
export const REACH: Readonly<Record<LetterName, Reach>> = {
  verify_email: 'current',
  unverified_reminder: 'current',
  reset_password: 'current',
  password_changed: 'given',
  email_change_confirm: 'given',
  email_change_taken: 'current',
  email_changed: 'given',
  email_reverted: 'given',
  new_device: 'given',
  mfa_enabled: 'given',
  mfa_disabled: 'given',
  recovery_code_used: 'given',
  recovery_started: 'given',
  recovery_reminder: 'given',
  recovery_completed: 'given',
  admin_invitation: 'given',
  account_blocked: 'given',
  account_unblocked: 'given',
  account_closed: 'closed',
  account_export_ready: 'current',
  api_key_created: 'given',
  webhook_disabled: 'given',
}

/** Every letter. */
export const LETTER_NAMES = Object.keys(REACH) as readonly LetterName[]
