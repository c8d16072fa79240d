import PostalMime, { type Email } from 'postal-mime'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { until } from './wait.ts'

/** A mail as a mail server has received it. */
export interface Received {
  /** Recipient of the envelope. */
  readonly to: string
  /** Sender of the envelope. */
  readonly from: string
  readonly raw: string
  readonly parsed: Email
  /** The plain text. */
  readonly text: string
  /** Where its first link to a page of the product leads. */
  readonly page: string
  /** The secret of that link. */
  readonly token: string
}

/** A real mail server on loopback that keeps what it receives. */
export interface MailServer {
  readonly port: number
  /** Settings with which a server of ours sends through it. */
  readonly env: Record<string, string>
  readonly received: readonly Received[]
  /** What an address has received, oldest first. */
  to(address: string): readonly Received[]
  /** Waits for the `count`-th mail to an address. */
  wait(address: string, count?: number): Promise<Received>
  clear(): void
  close(): Promise<void>
}

/** Starts one; by default without encryption and without sign-in. */
export async function mailServer(
  options: SMTPServerOptions = {},
  wantedPort = 0,
): Promise<MailServer> {
  const received: Received[] = []
  const server = new SMTPServer({
    disabledCommands: ['STARTTLS'],
    authOptional: true,
    // Closing must not wait for connections that are kept for the next mail.
    closeTimeout: 50,
    async onData(stream, session, done) {
      const chunks: Buffer[] = []
      for await (const chunk of stream) chunks.push(chunk as Buffer)
      const raw = Buffer.concat(chunks).toString('utf8')
      const sender = session.envelope.mailFrom === false ? '' : session.envelope.mailFrom.address
      for (const { address } of session.envelope.rcptTo) {
        received.push(await read(raw, sender, address))
      }
      done()
    },
    ...options,
  })
  const port = await new Promise<number>((resolve, reject) => {
    server.once('error', reject)
    server.listen(wantedPort, '127.0.0.1', () => {
      // Clients that break off are what some tests are about.
      server.on('error', () => undefined)
      resolve((server.server.address() as { port: number }).port)
    })
  })
  const to = (address: string) =>
    received.filter((mail) => mail.to.toLowerCase() === address.toLowerCase())
  return {
    port,
    env: {
      SMTP_HOST: '127.0.0.1',
      SMTP_PORT: String(port),
      MAIL_FROM: 'Rialto <no-reply@rialto.test>',
    },
    received,
    to,
    async wait(address, count = 1) {
      await until(() => to(address).length >= count, `${count} mails to ${address}`)
      return to(address)[count - 1] as Received
    },
    clear: () => void received.splice(0),
    close: () =>
      new Promise((resolve) => {
        server.close(resolve)
      }),
  }
}

async function read(raw: string, from: string, to: string): Promise<Received> {
  const parsed = await PostalMime.parse(raw)
  const text = parsed.text ?? ''
  const link = /\/account\/([a-z-]+)\?lang=[a-z]{2}#token=([\w-]+)/.exec(text)
  return { to, from, raw, parsed, text, page: link?.[1] ?? '', token: link?.[2] ?? '' }
}
