import postgres from 'postgres'
import type { Database } from '../../db/client.ts'
import { randomToken } from '../../src/base/ids.ts'
import type { Logger } from '../../src/observe/log.ts'
import type { Broker } from './broker.ts'

const TOPIC = 'rialto_bus'
/** Postgres takes 7,999 bytes; the rest is our header and slack for wide characters. */
const FRAGMENT_BYTES_MAX = 7_800
/** Fragments of messages that never became whole are forgotten above this many messages. */
const PARTIAL_MAX = 100

/**
 * Postgres notifications, for several instances without Redis. Sends go one after another over the
 * pool; listening has a connection of its own, by the `postgres` package (Bun's client cannot
 * listen), which reconnects by itself.
 *
 * @param wanted whether anybody listens: a notification takes a lock on every commit
 */
export function createPostgresBroker(
  url: string,
  db: Database,
  log: Logger,
  wanted: () => boolean,
): Broker {
  const client = postgres(url, {
    max: 1,
    connect_timeout: 5,
    idle_timeout: 0,
    max_lifetime: null,
    onnotice: () => undefined,
    connection: { application_name: 'rialto-listen' },
  })
  let listening = false
  let waiting: string[] = []
  let sending: Promise<void> | undefined

  const drain = async () => {
    while (waiting.length > 0) {
      const texts = waiting.flatMap(fragments)
      waiting = []
      try {
        // Tried again as a read is: twice does no harm, and one broken connection is no outage.
        for (const text of texts) await db.read((sql) => sql`select pg_notify(${TOPIC}, ${text})`)
      } catch (error) {
        log.warn('notification lost', { error })
      }
    }
    sending = undefined
  }

  return {
    kind: 'postgres',
    async start(onMessage, onGap) {
      const whole = assembler(onMessage)
      await client.listen(TOPIC, whole, () => {
        listening = true
        onGap()
      })
    },
    publish(message) {
      if (!wanted()) return
      waiting.push(message)
      sending ??= drain()
    },
    ready: () => listening,
    async close() {
      await sending
      await client.end({ timeout: 1 })
    },
  }
}

/** Cuts a message into `id part total text` notifications. */
function fragments(message: string): string[] {
  const bytes = Buffer.from(message)
  if (bytes.length <= FRAGMENT_BYTES_MAX) return [` ${message}`]
  // Base64, because a cut may go through a character.
  const text = bytes.toString('base64')
  const total = Math.ceil(text.length / FRAGMENT_BYTES_MAX)
  const id = randomToken(9)
  return Array.from({ length: total }, (_, part) => {
    const piece = text.slice(part * FRAGMENT_BYTES_MAX, (part + 1) * FRAGMENT_BYTES_MAX)
    return `${id} ${part} ${total} ${piece}`
  })
}

/** Puts fragments together again; notifications of one connection arrive in order. */
function assembler(onMessage: (message: string) => void): (text: string) => void {
  const partial = new Map<string, string[]>()
  return (text) => {
    if (text.startsWith(' ')) return onMessage(text.slice(1))
    const [id = '', part, total, piece = ''] = text.split(' ')
    const pieces = partial.get(id) ?? []
    pieces[Number(part)] = piece
    partial.set(id, pieces)
    if (pieces.filter((p) => p !== undefined).length === Number(total)) {
      partial.delete(id)
      onMessage(Buffer.from(pieces.join(''), 'base64').toString())
    }
    if (partial.size > PARTIAL_MAX) partial.delete(partial.keys().next().value as string)
  }
}
