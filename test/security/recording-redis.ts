import type { Socket } from 'bun'

/**
 * A Redis that keeps every byte it is sent, so that whatever a real one could hold, log or pass on
 * can be searched. It knows only what publish/subscribe needs (RESP3).
 */
export interface RecordingRedis {
  readonly url: string
  /** Everything that clients have said. */
  received(): Buffer
  /** How many messages were published. */
  published(): number
  stop(): void
}

interface Peer {
  pending: Buffer
  subscribed: boolean
}

/** Starts one on a free port of loopback. */
export function startRecordingRedis(): RecordingRedis {
  const chunks: Buffer[] = []
  const peers = new Set<Socket<Peer>>()
  let published = 0

  const publish = (topic: string, message: string) => {
    published++
    const listeners = [...peers].filter(({ data }) => data.subscribed)
    for (const peer of listeners) peer.write(push('message', topic, message))
    return `:${listeners.length}\r\n`
  }
  const answer = (peer: Socket<Peer>, [name = '', ...args]: string[]): string => {
    switch (name.toLowerCase()) {
      case 'hello':
        return `%1\r\n${bulk('proto')}:3\r\n`
      case 'info':
        return bulk('redis_version:7.4.0\r\nloading:0\r\n')
      case 'subscribe':
        peer.data.subscribed = true
        return `>3\r\n${bulk('subscribe')}${bulk(args[0] ?? '')}:1\r\n`
      case 'publish':
        return publish(args[0] ?? '', args[1] ?? '')
      case 'client':
        return '+OK\r\n'
      default:
        return `-ERR unknown command ${name}\r\n`
    }
  }

  const listener = Bun.listen<Peer>({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      open(peer) {
        peer.data = { pending: Buffer.alloc(0), subscribed: false }
        peers.add(peer)
      },
      close: (peer) => void peers.delete(peer),
      data(peer, chunk) {
        chunks.push(Buffer.from(chunk))
        const state = peer.data
        state.pending = Buffer.concat([state.pending, chunk])
        for (let next = command(state.pending); next !== undefined; next = command(state.pending)) {
          state.pending = next.rest
          peer.write(answer(peer, next.words))
        }
      },
    },
  })
  return {
    url: `redis://127.0.0.1:${listener.port}`,
    received: () => Buffer.concat(chunks),
    published: () => published,
    stop: () => listener.stop(true),
  }
}

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`
const push = (...parts: string[]) => `>${parts.length}\r\n${parts.map(bulk).join('')}`

/** The first whole command of what has come; clients send arrays of bulk strings. */
function command(bytes: Buffer): { words: string[]; rest: Buffer } | undefined {
  let at = 0
  const line = () => {
    const end = bytes.indexOf('\r\n', at)
    if (end < 0) return undefined
    const number = Number(bytes.toString('latin1', at + 1, end))
    at = end + 2
    return number
  }
  const count = line()
  if (count === undefined) return undefined
  const words: string[] = []
  for (let n = 0; n < count; n++) {
    const length = line()
    if (length === undefined || bytes.length < at + length + 2) return undefined
    words.push(bytes.toString('utf8', at, at + length))
    at += length + 2
  }
  return { words, rest: bytes.subarray(at) }
}
