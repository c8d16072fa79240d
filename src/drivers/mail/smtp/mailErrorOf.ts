import { redactText } from '../../../observe/redact.ts'
import { MailError, type MailTrouble } from '../port.ts'

/** What nodemailer says of a failed try. */
interface SmtpFailure {
  /** Nodemailer's own word: `EAUTH`, `EENVELOPE`, `ETIMEDOUT`, … */
  readonly code?: unknown
  /** The code of the socket or of TLS. */
  readonly originalCode?: unknown
  /** Status of the server's reply (RFC 5321, 4.2). */
  readonly responseCode?: unknown
  readonly response?: unknown
  /** `RCPT TO`, `MAIL FROM`, `DATA`, … */
  readonly command?: unknown
}

/** Replies are shown to administrators; a server may say anything, at any length. */
const REPLY_LENGTH_MAX = 300

/** Enhanced status codes (RFC 3463) that are about the mailbox: bad address, disabled, moved. */
const BAD_MAILBOX = /\b5\.(?:1\.(?:1|2|3|6|10)|2\.1)\b/
const ENHANCED = /\b[245]\.\d{1,3}\.\d{1,3}\b/
/** Without an enhanced code: no such mailbox, not local, name not allowed. */
const BAD_MAILBOX_STATUS = new Set([550, 551, 553])

/** Turns a failed try into a `MailError`. */
export function mailErrorOf(error: unknown): MailError {
  if (error instanceof MailError) return error
  const failure = error as SmtpFailure
  const reply = typeof failure.response === 'string' ? failure.response : ''
  const said = reply === '' ? (error as Error).message : reply
  const trouble = troubleOf(failure, reply)
  const text = redactText(said).replaceAll(/\p{Cc}+/gu, ' ')
  return new MailError(trouble, text.slice(0, REPLY_LENGTH_MAX), error)
}

/** Commands whose answer is about this mail; all others are about us. */
const ABOUT_THE_MAIL = /^(?:MAIL FROM|RCPT TO|DATA)$/
/** How TLS says that it does not believe a certificate, or finds no common ground. */
const TLS_CODE = /CERT|SIGNED|ISSUER|ALTNAME|SSL|TLS/

function troubleOf(failure: SmtpFailure, reply: string): MailTrouble {
  const { code, originalCode, responseCode, command } = failure
  const status = typeof responseCode === 'number' ? responseCode : 0
  // 454 and the like: the server cannot check passwords at the moment.
  if (code === 'EAUTH') return status >= 400 && status < 500 ? 'later' : 'settings'
  if (status === 530 || status === 535) return 'settings'
  const codes = [code, originalCode].filter((one) => typeof one === 'string').join(' ')
  if (status < 500) return TLS_CODE.test(codes) ? 'settings' : 'later'
  if (typeof command !== 'string' || !ABOUT_THE_MAIL.test(command)) return 'settings'
  if (command !== 'RCPT TO') return 'refused'
  if (ENHANCED.test(reply)) return BAD_MAILBOX.test(reply) ? 'address' : 'refused'
  return BAD_MAILBOX_STATUS.has(status) ? 'address' : 'refused'
}
