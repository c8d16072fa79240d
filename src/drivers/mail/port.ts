/** What the product asks of a mail server. */
export interface Mailer {
  /** `smtp`, or `log` for development, which sends nothing. */
  readonly kind: 'smtp' | 'log'
  /**
   * Hands one mail over. Resolves when the other side has taken responsibility for it.
   * @throws MailError
   */
  send(mail: OutgoingMail, signal: AbortSignal): Promise<void>
  /** Gives up what is under way and closes the connections. */
  close(): void
}

/** One mail to one address. */
export interface OutgoingMail {
  /** A bare address. */
  readonly to: string
  readonly subject: string
  readonly text: string
  readonly html: string
  /** The same for every try of one mail: a second copy is recognisable. Without brackets. */
  readonly messageId: string
  readonly date: Date
}

/**
 * Why a mail was not taken.
 * - `address`: the mailbox does not exist, or takes nothing; for good
 * - `refused`: this mail is refused for good (its content, its sender, a policy)
 * - `later`: not now (greylisting, a full mailbox, the server is busy or away)
 * - `settings`: the server and our settings do not go together (our account is refused, it has no
 *   encryption or a wrong certificate); nothing is sent until somebody looks after that
 */
export type MailTrouble = 'address' | 'refused' | 'later' | 'settings'

/** A mail that was not taken. The message holds what the other side said, and no secret. */
export class MailError extends Error {
  override readonly name = 'MailError'
  readonly trouble: MailTrouble

  constructor(trouble: MailTrouble, message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause })
    this.trouble = trouble
  }
}

/** Control characters, and what would make a header or an envelope of several addresses. */
const UNSAFE_ADDRESS = /[\s\p{Cc}\p{Cf}\u2028\u2029<>,;:"()[\]\\]/u
const UNSAFE_LINE = /[\r\n\0\u2028\u2029]/

/**
 * Refuses what would change the form of a mail, whoever has let it through: the last line against
 * injected headers and recipients.
 * @throws MailError `refused`
 */
export function checkMail({ to, subject, messageId }: OutgoingMail): void {
  const at = to.lastIndexOf('@')
  if (at < 1 || at === to.length - 1 || to.length > 254 || UNSAFE_ADDRESS.test(to)) {
    throw new MailError('refused', 'Not the address of one mailbox')
  }
  if (UNSAFE_LINE.test(subject)) throw new MailError('refused', 'A subject of several lines')
  if (!/^[\w.-]+@[\w.-]+$/.test(messageId)) throw new MailError('refused', 'Not a message id')
}
