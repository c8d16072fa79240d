import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { until } from '../support/wait.ts'

/** What a frame of RFC 6455 may be made to look like. */
export interface FrameOptions {
  readonly fin?: boolean
  readonly masked?: boolean
  /** The three reserved bits. */
  readonly rsv?: number
  /** What the header says instead of the real length. */
  readonly length?: number | bigint
  /** Writes the length in this many bytes whatever it is: 0, 2 or 8. */
  readonly lengthBytes?: 0 | 2 | 8
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

/** The bytes of a frame. */
export function wsFrame(opcode: number, payload: string | Uint8Array, options: FrameOptions = {}) {
  const { fin = true, masked = true, rsv = 0 } = options
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  const length = options.length ?? bytes.length
  const header = [(fin ? 0x80 : 0) | (rsv << 4) | opcode]
  const maskBit = masked ? 0x80 : 0
  const lengthBytes = options.lengthBytes ?? (length > 65_535 ? 8 : length > 125 ? 2 : 0)
  const extended = Buffer.alloc(lengthBytes)
  if (lengthBytes === 0) header.push(maskBit | Number(length))
  else if (lengthBytes === 2) {
    header.push(maskBit | 126)
    extended.writeUInt16BE(Number(length))
  } else {
    header.push(maskBit | 127)
    extended.writeBigUInt64BE(BigInt(length))
  }
  if (!masked) return Buffer.concat([Buffer.from(header), extended, bytes])
  const mask = randomBytes(4)
  const scrambled = Uint8Array.from(bytes, (byte, n) => byte ^ (mask[n % 4] as number))
  return Buffer.concat([Buffer.from(header), extended, mask, scrambled])
}

/** The lines of a request for a socket. */
export function upgradeRequest(path: string, headers: Record<string, string> = {}): string {
  const all = {
    Host: '127.0.0.1',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    'Sec-WebSocket-Version': '13',
    ...headers,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `GET ${path} HTTP/1.1\r\n${lines.join('')}\r\n`
}

/** A TCP connection that says whatever it likes, and keeps what it is told. */
export class RawSocket {
  received = Buffer.alloc(0)
  ended = false

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => (this.received = Buffer.concat([this.received, chunk])))
    socket.on('close', () => (this.ended = true))
    socket.on('end', () => (this.ended = true))
    socket.on('error', () => (this.ended = true))
  }

  static open(port: number): Promise<RawSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => resolve(new RawSocket(socket)))
    })
  }

  /** A connection that has become a WebSocket, past the server's `connected` frame. */
  static async upgraded(port: number, path: string): Promise<RawSocket> {
    const raw = await RawSocket.open(port)
    raw.write(upgradeRequest(path))
    await raw.sees('"connected"')
    return raw
  }

  write(bytes: string | Uint8Array): void {
    if (!this.socket.destroyed) this.socket.write(bytes)
  }

  /** Waits until the text has come. */
  async sees(text: string): Promise<void> {
    await until(() => this.received.includes(text), `"${text}"`)
  }

  /** Waits until the server has ended the connection. */
  async end(): Promise<void> {
    await until(() => this.ended, 'the end of the connection')
  }

  destroy(): void {
    this.socket.destroy()
  }
}
