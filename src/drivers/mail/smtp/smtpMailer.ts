import { createTransport } from 'nodemailer'
import type { Config } from '../../../config.ts'
import { checkMail, type Mailer, MailError } from '../port.ts'
import { mailErrorOf } from './mailErrorOf.ts'

type Smtp = NonNullable<Config['smtp']>

/** As many as the queue sends at once. */
const CONNECTIONS_MAX = 4
/** To reach the server and to read its greeting, in ms; the queue's own deadline is later. */
const CONNECT_MS_MAX = 8_000
/** Without a byte from the server, in ms. */
const SILENCE_MS_MAX = 15_000
/** Below the five minutes that servers wait at least (RFC 5321, 4.5.3.2.7). */
const IDLE_MS = 60_000

/**
 * Mail through an SMTP server (RFC 5321, submission RFC 6409), over a few connections that are
 * used again. Port 465 speaks TLS from the start (RFC 8314); elsewhere STARTTLS is used when
 * offered, and demanded before a password is sent.
 *
 * @param clientName how we introduce ourselves: the host of the product
 */
export function smtpMailer(smtp: Smtp, clientName: string): Mailer {
  const { host, port, user, password, from } = smtp
  const transport = createTransport(
    {
      pool: true,
      host,
      port,
      name: clientName,
      secure: port === 465,
      requireTLS: user !== undefined,
      ...(user === undefined ? {} : { auth: { user, pass: password ?? '' } }),
      tls: { minVersion: 'TLSv1.2', ...(smtp.ca === undefined ? {} : { ca: smtp.ca }) },
      maxConnections: CONNECTIONS_MAX,
      // The queue tries again, later and with the wait that it wants.
      maxRequeues: 0,
      idleTimeout: IDLE_MS,
      connectionTimeout: CONNECT_MS_MAX,
      greetingTimeout: CONNECT_MS_MAX,
      dnsTimeout: CONNECT_MS_MAX,
      socketTimeout: SILENCE_MS_MAX,
      // Nothing in a letter names a file or an address to be fetched; if it did, it must not be.
      disableFileAccess: true,
      disableUrlAccess: true,
    },
    { from },
  )
  const sender = addressIn(from)
  return {
    kind: 'smtp',
    async send(mail, signal) {
      checkMail(mail)
      const { to, subject, text, html, messageId, date } = mail
      try {
        await transport.sendMail({
          // As objects, which are not parsed: a comma makes no second recipient.
          envelope: { from: sender, to: [to] },
          to: { name: '', address: to },
          subject,
          text,
          html,
          date,
          messageId: `<${messageId}>`,
          // RFC 3834: answering machines do not answer.
          headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
          signal,
        })
      } catch (error) {
        throw mailErrorOf(error)
      }
    },
    close: () => transport.transporter.close?.({ force: true }),
  }
}

/** `a@b` of `A name <a@b>`; the configuration has checked the form. */
function addressIn(mailbox: string): string {
  const address = /<([^<>]+)>$/.exec(mailbox)?.[1] ?? mailbox
  if (!address.includes('@')) throw new MailError('refused', 'MAIL_FROM has no address')
  return address
}
