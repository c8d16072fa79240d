/**
 * Mail: one port, two implementations. `smtp` speaks to the configured server; `log` is what a
 * developer has, and what production refuses to start with (`src/config/rules.ts`).
 *
 * May import the kernel and configuration; nodemailer is known here alone.
 */

import type { Config } from '../../config.ts'
import type { Logger } from '../../observe/log.ts'
import { logMailer } from './log/logMailer.ts'
import type { Mailer } from './port.ts'
import { smtpMailer } from './smtp/smtpMailer.ts'

export { MailError, type Mailer, type MailTrouble, type OutgoingMail } from './port.ts'

/** The name of the product's host, as mail servers and message ids take it. */
export function mailDomain(publicUrl: string): string {
  const { hostname } = new URL(publicUrl)
  // An IPv6 address has brackets and colons, which neither of them takes in this form.
  return hostname.startsWith('[') ? 'localhost' : hostname
}

/** The mailer that the configuration chooses; connects at the first mail. */
export function openMailer(config: Config, log: Logger): Mailer {
  const { smtp } = config
  if (smtp !== undefined) return smtpMailer(smtp, mailDomain(config.publicUrl))
  return logMailer({ log, print: config.environment === 'development' })
}
