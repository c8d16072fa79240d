import { type IncomingMessage, request as httpRequest } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../../../base/clock.ts'
import type { OutboundRequest } from '../port.ts'
import { Trouble } from './trouble.ts'

/** An answer as far as it was read. */
export interface Exchange {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly body: string
}

/** Of the body, this much is read: for whoever looks after the other side. */
const BODY_BYTES_MAX = 1_024
/** After the status the answer counts; its body may take this much longer, in ms. */
const BODY_MS_MAX = 2_000
const HEADER_BYTES_MAX = 16 * 1_024

/**
 * Sends a request over an open connection and reads how the answer begins; the connection is closed
 * afterwards. Nothing of the environment (proxies, pools) has a say in where it goes.
 * @throws Trouble `broken`; the reason of `signal`
 */
export async function exchange(
  clock: Clock,
  socket: Socket,
  { url, headers, body }: OutboundRequest,
  signal: AbortSignal,
): Promise<Exchange> {
  const answered = Promise.withResolvers<IncomingMessage>()
  const onAbort = () => answered.reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    signal.throwIfAborted()
    const request = httpRequest({
      createConnection: () => socket,
      method: 'POST',
      path: `${url.pathname}${url.search}`,
      headers: {
        ...headers,
        Host: url.host,
        'Content-Length': Buffer.byteLength(body),
        Connection: 'close',
      },
      maxHeaderSize: HEADER_BYTES_MAX,
    })
    const broken = (what: string) => answered.reject(new Trouble('broken', what))
    request.on('error', ({ message }) => broken(message))
    request.on('close', () => broken('The connection ended without an answer'))
    request.on('upgrade', () => broken('An answer of another protocol'))
    request.on('response', (response: IncomingMessage) => answered.resolve(response))
    request.end(body)
    const response = await answered.promise
    return {
      status: response.statusCode ?? 0,
      retryAfter: response.headers['retry-after'],
      body: await beginning(clock, response, signal),
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    answered.promise.catch(() => undefined)
    socket.destroy()
  }
}

/** How a body begins, as text without control characters. Whatever ends it early is no failure. */
async function beginning(
  clock: Clock,
  response: IncomingMessage,
  signal: AbortSignal,
): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const chunks: Buffer[] = []
  let length = 0
  const done = () => resolve()
  const late = clock.setTimeout(done, BODY_MS_MAX)
  signal.addEventListener('abort', done, { once: true })
  response.on('data', (chunk: Buffer) => {
    if (length < BODY_BYTES_MAX) chunks.push(chunk.subarray(0, BODY_BYTES_MAX - length))
    length += chunk.byteLength
    if (length >= BODY_BYTES_MAX) done()
  })
  for (const event of ['end', 'error', 'close']) response.on(event, done)
  await promise
  late.cancel()
  signal.removeEventListener('abort', done)
  response.destroy()
  const text = new TextDecoder().decode(Buffer.concat(chunks))
  return text.replaceAll(/[^\P{Cc}\n\t]/gu, '').trim()
}
