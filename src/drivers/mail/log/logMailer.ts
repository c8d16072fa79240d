import type { Logger } from '../../../observe/log.ts'
import { checkMail, type Mailer } from '../port.ts'

/**
 * Sends nothing: says in the log that a mail was not sent. Its text holds a link that is as good
 * as a password, so it is never logged; a developer, who has no mail server, finds it on standard
 * output.
 */
export function logMailer(options: { log: Logger; print: boolean }): Mailer {
  const { log, print } = options
  return {
    kind: 'log',
    async send(mail) {
      checkMail(mail)
      const { to, subject, messageId } = mail
      log.info('mail not sent: no SMTP_HOST', { to, subject, message_id: messageId })
      if (print) process.stdout.write(asSheet(`To: ${to}\nSubject: ${subject}\n\n${mail.text}`))
    },
    close: () => undefined,
  }
}

function asSheet(text: string): string {
  const lines = text.trimEnd().split('\n')
  return ['', '  ┌ mail (not sent)', ...lines.map((line) => `  │ ${line}`), '  └', ''].join('\n')
}
