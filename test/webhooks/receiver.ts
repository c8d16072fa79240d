import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Webhook } from 'standardwebhooks'
import { until } from '../support/wait.ts'

/** What a receiver was sent. */
export interface Received {
  readonly id: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  // oxlint-disable-next-line no-explicit-any
  readonly body: any
  readonly atMs: number
}

/** How a receiver answers; `never` hangs. */
export type Reply =
  | number
  | 'never'
  | {
      readonly status: number
      readonly headers?: Record<string, string>
      readonly body?: string
      readonly afterMs?: number
    }

/** A service that takes webhooks, on a port of loopback. */
export interface Receiver {
  readonly url: string
  readonly received: Received[]
  /** Says how to answer from now on. */
  reply(how: Reply | ((message: Received) => Reply)): void
  /** Waits for so many messages (in all); returns them. */
  wait(count: number, timeoutMs?: number): Promise<readonly Received[]>
  /** Goes off line, or comes back on the same port. */
  stop(): Promise<void>
  start(): Promise<void>
}

/** Starts a receiver; stop it in the end. */
export async function startReceiver(): Promise<Receiver> {
  const received: Received[] = []
  let answer: (message: Received) => Reply = () => 204
  let server: Server | undefined
  let port = 0

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString()
    const headers = request.headers as Record<string, string>
    const message: Received = {
      id: headers['webhook-id'] as string,
      path: request.url as string,
      headers,
      text,
      body: JSON.parse(text) as unknown,
      atMs: performance.now(),
    }
    received.push(message)
    const reply = answer(message)
    if (reply === 'never') return
    const { status, headers: more = {}, body = '', afterMs = 0 } = asObject(reply)
    if (afterMs > 0) await Bun.sleep(afterMs)
    response.writeHead(status, more).end(body)
  }
  const start = () =>
    new Promise<void>((resolve) => {
      const made = createServer((request, response) => {
        serve(request, response).catch(() => response.destroy())
      })
      server = made
      made.listen(port, '127.0.0.1', () => {
        port = (made.address() as { port: number }).port
        resolve()
      })
    })
  await start()
  return {
    url: `http://127.0.0.1:${port}/hook`,
    received,
    reply: (how) => (answer = typeof how === 'function' ? how : () => how),
    async wait(count, timeoutMs) {
      await until(() => received.length >= count, `${count} messages are there`, timeoutMs)
      return received.slice(0, count)
    },
    start,
    stop: () =>
      new Promise<void>((resolve) => {
        server?.closeAllConnections()
        server?.close(() => resolve())
      }),
  }
}

const asObject = (reply: Exclude<Reply, 'never'>) =>
  typeof reply === 'number' ? { status: reply } : reply

/** Checks a message as a receiver does, by the library of Standard Webhooks. */
export function isGenuine(secret: string, { text, headers }: Received): boolean {
  try {
    new Webhook(secret).verify(text, headers)
    return true
  } catch {
    return false
  }
}
