import type { SQL } from 'bun'
import type { Clock } from '../base/clock.ts'
import { part } from '../kernel/kernel.ts'
import { type LetterName, REACH } from './letters.ts'

/**
 * What mail asks of whoever keeps the accounts. Mail knows no accounts: identity, which writes
 * letters and so imports mail, fills this.
 */
export interface Recipients {
  /** What an address is to an account: its own, no longer (or never) its own, or closed to mail. */
  standing(sql: SQL, userId: string, address: string): Promise<'current' | 'other' | 'closed'>
  /** Notes that a mailbox takes no mail, for as long as it is the account's. */
  markRefused(sql: SQL, clock: Clock, userId: string, address: string): Promise<void>
}

/** The recipients of a server. */
export const MailRecipients = part<Recipients>('recipients of mail')

/**
 * Whether a letter may still go where it was to go. Between writing and sending, minutes may pass
 * (hours, while the mail server is away), in which the account was closed or has another address.
 */
export async function mayReach(
  recipients: Recipients,
  sql: SQL,
  letter: LetterName,
  userId: string,
  address: string,
): Promise<boolean> {
  const reach = REACH[letter]
  if (reach === 'closed') return true
  const standing = await recipients.standing(sql, userId, address)
  return standing === 'current' || (standing === 'other' && reach === 'given')
}
