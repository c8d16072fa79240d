/**
 * Many clients in a process of their own, told what to do by lines of JSON on standard input; each
 * command is answered by one line. `swarm.ts` is the other end.
 */

interface Position {
  epoch: string
  offset: number
}

/** One client: connects, follows one channel, and knows where it stands. */
class Device {
  position: Position | undefined
  socket: WebSocket | undefined
  code: number | undefined
  recovered = 0
  refused = 0
  received = 0
  private onReady: (() => void) | undefined
  private onFailed: ((error: Error) => void) | undefined

  constructor(
    readonly url: string,
    readonly token: string,
    readonly channel: string,
  ) {}

  /** Connects and subscribes, from where it stood before if it has stood anywhere. */
  connect(): Promise<void> {
    const socket = new WebSocket(`${this.url}?token=${this.token}`)
    this.socket = socket
    this.code = undefined
    return new Promise((resolve, reject) => {
      this.onReady = resolve
      this.onFailed = reject
      socket.addEventListener('message', ({ data }) => this.take(String(data)))
      socket.addEventListener('close', ({ code }) => {
        this.code = code
        this.onFailed?.(new Error(`closed: ${code}`))
      })
    })
  }

  private take(text: string): void {
    if (text.startsWith('{"type":"noted"')) return this.see(offsetIn(text))
    const { type, id, payload } = JSON.parse(text)
    if (type === 'connected') {
      const recover = this.position
      const subscribe = { channel: this.channel, ...(recover === undefined ? {} : { recover }) }
      this.socket?.send(JSON.stringify({ type: 'subscribe', id: 's', payload: subscribe }))
    } else if (id === 's') {
      this.subscribed(payload)
      this.onReady?.()
      this.onReady = this.onFailed = undefined
    }
  }

  private subscribed(answer: Position & { recovered: boolean; publications: Position[] }): void {
    if (answer.recovered) {
      this.recovered++
      for (const { offset } of answer.publications) this.see(offset)
    } else if (this.position !== undefined) {
      this.refused++
    }
    this.position = { epoch: answer.epoch, offset: answer.offset }
  }

  private see(offset: number): void {
    this.received++
    const before = this.position?.offset ?? -1
    if (offset !== before + 1) faults.push(`${offset} after ${before}`)
    if (this.position !== undefined) this.position.offset = offset
  }
}

const offsetIn = (text: string) => {
  const at = text.indexOf('"offset":') + '"offset":'.length
  return Number(text.slice(at, text.indexOf(',', at)))
}

/** Connections being made at the same time: more would only wait in the kernel's queue. */
const AT_ONCE = 200
const RETRY_MS = 100

const devices: Device[] = []
const faults: string[] = []

/** Connects all of these, as often as it takes; returns how often it failed. */
async function connectAll(list: readonly Device[]): Promise<number> {
  let [next, failures] = [0, 0]
  const connectSome = async () => {
    for (let device = list[next++]; device !== undefined; device = list[next++]) {
      for (;;) {
        try {
          await device.connect()
          break
        } catch {
          failures++
          await Bun.sleep(RETRY_MS * (0.5 + Math.random()))
        }
      }
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, connectSome))
  return failures
}

const commands: Record<string, (given: never) => unknown> = {
  async open({ url, tokens, channel }: { url: string; tokens: string[]; channel: string }) {
    const fresh = tokens.map((token) => new Device(url, token, channel))
    devices.push(...fresh)
    return { failures: await connectAll(fresh) }
  },
  /** Cuts every line at the same moment, without a word. */
  drop() {
    for (const { socket } of devices) socket?.terminate()
    return {}
  },
  /** Comes back at once, all together, each from where it stood. */
  async back() {
    const startMs = performance.now()
    const failures = await connectAll(devices)
    return { failures, ms: performance.now() - startMs }
  },
  report() {
    const offsets = devices.map(({ position }) => position?.offset ?? -1)
    const sum = (of: (device: Device) => number) => devices.reduce((all, d) => all + of(d), 0)
    return {
      open: devices.filter(({ code }) => code === undefined).length,
      lowest: Math.min(...offsets),
      highest: Math.max(...offsets),
      received: sum((d) => d.received),
      recovered: sum((d) => d.recovered),
      refused: sum((d) => d.refused),
      faults: faults.slice(0, 10),
    }
  },
}

for await (const line of console) {
  const { command, given } = JSON.parse(line)
  const answer = await commands[command]?.(given as never)
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
