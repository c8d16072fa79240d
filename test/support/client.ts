/** A client of the native dialect, as an app would write one, with everything it saw kept. */

/** A frame of the server. */
export interface Frame {
  readonly type: string
  readonly id?: string
  readonly channel?: string
  readonly offset?: number
  readonly payload: Record<string, unknown>
}

/** What a call was refused with. */
export class CallError extends Error {
  constructor(
    readonly payload: { code: string; message: string; retryable: boolean } & Frame['payload'],
  ) {
    super(`${payload.code}: ${payload.message}`)
  }
}

export interface CallExtras {
  readonly key?: string
}

/** One connected device. */
export class Client {
  readonly frames: Frame[] = []
  closed: { code: number; reason: string } | undefined
  private next = 0
  private readonly calls = new Map<string, (frame: Frame) => void>()
  private readonly waits = new Set<{ test: (frame: Frame) => boolean; done: (f: Frame) => void }>()
  private readonly whenClosed = Promise.withResolvers<{ code: number; reason: string }>()

  private constructor(readonly socket: WebSocket) {
    socket.addEventListener('message', ({ data }) => this.take(JSON.parse(String(data)) as Frame))
    socket.addEventListener('close', ({ code, reason }) => {
      this.closed = { code, reason }
      this.whenClosed.resolve(this.closed)
      const gone: Frame = { type: 'error', payload: { code: 'closed', message: String(code) } }
      for (const done of this.calls.values()) done(gone)
    })
  }

  /** Opens a socket and waits for it; not yet for `connected`. */
  static async open(url: string, options?: Bun.WebSocketOptions | string[]): Promise<Client> {
    const socket = new WebSocket(url, options as string[])
    const client = new Client(socket)
    await new Promise<void>((resolve, reject) => {
      socket.addEventListener('open', () => resolve())
      socket.addEventListener('close', ({ code }) => reject(new Error(`not opened: ${code}`)))
    })
    return client
  }

  /** Connects with a token and waits for the `connected` frame. */
  static async connect(wsUrl: string, token: string): Promise<Client> {
    const client = await Client.open(`${wsUrl}?token=${token}`)
    await client.wait((frame) => frame.type === 'connected')
    return client
  }

  private take(frame: Frame): void {
    this.frames.push(frame)
    if (frame.id !== undefined) {
      this.calls.get(frame.id)?.(frame)
      this.calls.delete(frame.id)
    }
    for (const wait of this.waits) {
      if (!wait.test(frame)) continue
      this.waits.delete(wait)
      wait.done(frame)
    }
  }

  /** Calls an operation or sends a command; resolves with the ack's frame. */
  async call(type: string, payload: object = {}, extras: CallExtras = {}): Promise<Frame> {
    const id = `c${++this.next}`
    const answer = new Promise<Frame>((resolve) => this.calls.set(id, resolve))
    this.send({ type, id, payload, ...extras })
    const frame = await answer
    if (frame.type === 'error') throw new CallError(frame.payload as CallError['payload'])
    return frame
  }

  /** The payload of the ack. */
  async ask<T = Record<string, unknown>>(type: string, payload: object = {}): Promise<T> {
    return (await this.call(type, payload)).payload as T
  }

  send(frame: unknown): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  /** The first frame, seen already or still to come, that passes `test`. */
  wait(test: (frame: Frame) => boolean, timeoutMs = 5_000): Promise<Frame> {
    const seen = this.frames.find(test)
    if (seen !== undefined) return Promise.resolve(seen)
    return new Promise((resolve, reject) => {
      const wait = { test, done: resolve }
      this.waits.add(wait)
      setTimeout(() => {
        if (!this.waits.delete(wait)) return
        const types = this.frames.map(({ type }) => type).join(', ')
        reject(new Error(`no such frame within ${timeoutMs} ms; seen: ${types}`))
      }, timeoutMs)
    })
  }

  /** Events of a type, in the order of arrival. */
  events(type: string): Frame[] {
    return this.frames.filter((frame) => frame.type === type && frame.id === undefined)
  }

  /** The position that the server named when opening. */
  get position(): { channel: string; epoch: string; offset: number } {
    const connected = this.frames.find(({ type }) => type === 'connected')
    const all = (connected?.payload['subscriptions'] ?? []) as Client['position'][]
    const [first] = all
    if (first === undefined) throw new Error('not connected')
    return first
  }

  close(): Promise<{ code: number; reason: string }> {
    this.socket.close()
    return this.whenClosed.promise
  }

  whenClose(): Promise<{ code: number; reason: string }> {
    return this.whenClosed.promise
  }

  /** Cuts the line without a close frame, as a lost network would. */
  cut(): void {
    this.socket.terminate()
  }
}
