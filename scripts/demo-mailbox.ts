/** A mail server on loopback that keeps what it is sent: the mailboxes of a demonstration. */

import PostalMime from 'postal-mime'
import { SMTPServer } from 'smtp-server'

const WAIT_MS = 15_000
const LOOK_MS = 20

/** A letter, as far as demonstrations look at it. */
export interface Letter {
  readonly subject: string
  /** What stands behind `#token=` in its link; empty where there is none. */
  readonly token: string
}

/** The mailboxes of everybody. */
export interface Mailbox {
  readonly port: number
  /** Waits for the next letter of a kind to an address. */
  letter(to: string, subject: RegExp): Promise<Letter>
  close(): Promise<void>
}

/** Starts one on a free port. */
export async function startMailbox(): Promise<Mailbox> {
  const letters: { to: string; subject: string; text: string }[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    async onData(stream, session, done) {
      const chunks: Buffer[] = []
      for await (const chunk of stream) chunks.push(chunk as Buffer)
      const { subject = '', text = '' } = await PostalMime.parse(Buffer.concat(chunks))
      const to = session.envelope.rcptTo.map(({ address }) => address).join()
      letters.push({ to, subject, text })
      done()
    },
  })
  const port = await new Promise<number>((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      resolve((server.server.address() as { port: number }).port)
    })
  })
  return {
    port,
    async letter(to, subject) {
      const deadline = performance.now() + WAIT_MS
      for (;;) {
        const at = letters.findIndex((one) => one.to === to && subject.test(one.subject))
        const [found] = at < 0 ? [] : letters.splice(at, 1)
        if (found !== undefined) {
          const token = /#token=([\w-]+)/.exec(found.text)?.[1] ?? ''
          return { subject: found.subject, token }
        }
        if (performance.now() > deadline) throw new Error(`no letter ${subject} to ${to}`)
        await Bun.sleep(LOOK_MS)
      }
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
      }),
  }
}
