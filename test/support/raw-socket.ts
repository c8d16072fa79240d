import type { Socket } from 'bun'

/**
 * A WebSocket as bytes on a line, for a client that does what no library would: not read, not
 * answer pings.
 */
export class RawSocket {
  /** Everything received and not yet looked at, as Latin-1 text. */
  received = ''
  closed = false
  private socket: Socket | undefined

  private constructor() {}

  /** Connects, upgrades and waits for the answer. */
  static async open(port: number, path: string): Promise<RawSocket> {
    const raw = new RawSocket()
    raw.socket = await Bun.connect({
      hostname: '127.0.0.1',
      port,
      socket: {
        data: (_socket, bytes) => void (raw.received += bytes.toString('latin1')),
        close: () => void (raw.closed = true),
        error: () => void (raw.closed = true),
      },
    })
    raw.socket.write(
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
    )
    await raw.sees('HTTP/1.1 101')
    return raw
  }

  /** Waits until something has been received. */
  async sees(text: string, timeoutMs = 5_000): Promise<void> {
    const startMs = performance.now()
    while (!this.received.includes(text)) {
      if (performance.now() - startMs > timeoutMs) throw new Error(`not received: ${text}`)
      await Bun.sleep(2)
    }
  }

  /** Sends a text frame (RFC 6455, masked with zeros) of at most 65,535 bytes. */
  send(frame: unknown): void {
    const text = Buffer.from(JSON.stringify(frame))
    const length =
      text.length < 126 ? [0x80 | text.length] : [0xfe, text.length >> 8, text.length & 0xff]
    this.socket?.write(Buffer.concat([Buffer.from([0x81, ...length, 0, 0, 0, 0]), text]))
    this.socket?.flush()
  }

  /** Stops reading: the line fills up. */
  pause(): void {
    this.socket?.pause()
  }

  resume(): void {
    this.socket?.resume()
  }

  end(): void {
    this.socket?.terminate()
  }
}
