import { heapStats } from 'bun:jsc'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Authenticator } from '../../src/auth/index.ts'
import { ERRORS } from '../../src/base/errors.ts'
import { features } from '../../src/features.ts'
import { createRegistry } from '../../src/kernel/feature.ts'
import { budget, chance } from '../support/budget.ts'
import { Client, type Frame } from '../support/client.ts'
import { labFeature } from '../support/lab.ts'
import { type Person, person } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { frameGenerator } from './frame-generator.ts'

const RUNS = Number(process.env['FUZZ_FRAMES'] ?? budget(10_000, 1_000_000))
/** Frames on their way at once, at most. */
const BURST_MAX = 40
const ANSWER_MS_MAX = 15_000
const HEAP_GROWTH_MAX = 64 * 1024 * 1024

const operations = [...createRegistry(features).operations.values()]
let server: TestServer
let fuzzer: Person
let friend: Person
let other: Person
let healthy: Client
let listener: Client

beforeAll(async () => {
  server = await testServer({
    features: [...features, labFeature],
    gatewayLimits: { errorsPerMinuteMax: Number.POSITIVE_INFINITY },
  })
  fuzzer = await person(server, 'fuzzer')
  friend = await person(server, 'friend')
  other = await person(server, 'other')
  healthy = await Client.connect(server.wsUrl, friend.token)
  listener = await Client.connect(server.wsUrl, other.token)
})
afterAll(() => server.stop())

/** The id that the server must answer, if the frame has one. Frames arrive as UTF-8. */
function idOf(text: string): string | undefined {
  try {
    const value = JSON.parse(text.toWellFormed()) as unknown
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    const { id } = value as { id?: unknown }
    return typeof id === 'string' && id.length > 0 && id.length <= 64 ? id : undefined
  } catch {
    return undefined
  }
}

const TELLTALE = /\n\s+at |\.ts:\d|node_modules|\/src\/|\/realtime\/|PostgresError|TypeBox/

/** What is wrong with an answer. */
function flaw({ type, payload }: Frame): string | undefined {
  if (type === 'ack' || type === 'pong') {
    return typeof payload === 'object' && payload !== null ? undefined : 'an ack without payload'
  }
  if (type !== 'error') return `an answer of type ${type}`
  const { code, message } = payload as { code?: unknown; message?: unknown }
  if (typeof code !== 'string' || !Object.hasOwn(ERRORS, code)) return `the code ${String(code)}`
  if (ERRORS[code as keyof typeof ERRORS].status >= 500) return `${code}: ${String(message)}`
  if (typeof message !== 'string' || message === '') return 'no message'
  return TELLTALE.test(JSON.stringify(payload)) ? `inner workings: ${message}` : undefined
}

/** Sends a burst and waits for its last answer. @returns what is wrong with the answers */
async function burst(client: Client, frames: readonly string[]): Promise<string[]> {
  client.frames.length = 0
  const expected = frames.map(idOf).filter((id) => id !== undefined)
  for (const frame of frames) client.send(frame)
  // Answers come in order, so that this one says that all others are there.
  client.send({ type: 'ping', id: 'the last' })
  const answered = () => client.frames.filter(({ id }) => id !== undefined)
  const deadline = performance.now() + ANSWER_MS_MAX
  while (answered().at(-1)?.id !== 'the last') {
    if (client.closed !== undefined) return [`closed with ${client.closed.code}`]
    if (performance.now() > deadline) return ['not answered in time']
    await Bun.sleep(1)
  }
  const ids = answered().map(({ id }) => id as string)
  const order = ids.join() === [...expected, 'the last'].join() ? [] : [`answered ${ids.join()}`]
  return [...order, ...client.frames.flatMap((frame) => flawIn(frame) ?? [])]
}
function flawIn(frame: Frame): string | undefined {
  if (frame.id === undefined && frame.type !== 'error') return undefined
  const found = flaw(frame)
  return found === undefined ? undefined : `${frame.id ?? 'without id'}: ${found}`
}

/** Tokens of the fuzzer's whose sessions no frame can end. */
async function freshToken(): Promise<string> {
  const { token } = await server.kernel.use(Authenticator).issue({
    userId: fuzzer.id,
    sessionId: crypto.randomUUID(),
    roles: ['user'],
    sessionEndsMs: server.kernel.clock.now() + 86_400_000,
  })
  return token
}

const ORDINARY = [
  'user:nobody',
  'a',
  'Name',
  'fuzz-name',
  'signal:1',
  'UTC',
  'Europe/Paris',
  '2024-01-01T00:00:00Z',
  'mail@example.org',
  'a long password',
  `0x${'0a'.repeat(20)}`,
  'https://example.org/a.png',
  Buffer.from('5').toString('base64url'),
  '0123456789abcdef',
]

/** Texts that mean something to the server, for the generator to choose from. */
async function knownTexts(client: Client): Promise<string[]> {
  const sent = await client.ask('message', { recipient_id: friend.id, message_type: 'text' })
  const got = await healthy.ask('message', { recipient_id: fuzzer.id, message_type: 'text' })
  const conversation = String(sent['conversation_id'])
  const lists = await client.ask('conversations.list', { limit: 1 })
  // Not the fuzzer's own id: closing their account would end most of what can be tried.
  const ids = [friend.id, String(sent['id']), String(got['id']), conversation, crypto.randomUUID()]
  const channels = [`user:${fuzzer.id}`, `user:${friend.id}`, `conversation:${conversation}`]
  const tokens = [await freshToken(), 'not-a-token', String(lists['next_cursor'])]
  return [...ids, ...channels, ...tokens, ...ORDINARY]
}

/** Others must not notice: a message arrives and is acknowledged while the fuzzer fuzzes. */
async function othersAreServed(): Promise<void> {
  healthy.frames.length = 0
  listener.frames.length = 0
  const id = crypto.randomUUID()
  await healthy.ask('message', { recipient_id: other.id, message_type: 'text', id })
  await listener.wait(({ type, payload }) => type === 'message' && payload['id'] === id)
}

/** Frames that must end the connection, and with which codes. */
const ENDINGS: readonly [frame: string | Uint8Array<ArrayBuffer>, codes: number[]][] = [
  [new Uint8Array([123, 125]), [4500]],
  [new Uint8Array(0), [4500]],
  // Whoever is still sending may miss the reason.
  ['x'.repeat(64 * 1024 + 1), [1009, 1006]],
]

test(
  `${RUNS} frames are each answered once, in order, without an inner error`,
  async () => {
    const luck = chance('frame fuzz')
    let client = await Client.connect(server.wsUrl, await freshToken())
    const known = await knownTexts(client)
    const generator = frameGenerator({ chance: luck, operations, known })
    let heapBefore = 0
    for (let sent = 0, bursts = 0; sent < RUNS; bursts++) {
      const count = Math.min(1 + luck.below(BURST_MAX), RUNS - sent)
      const frames = Array.from({ length: count }, (_, n) => generator.next(`f${sent + n}`))
      const [findings] = await Promise.all([burst(client, frames), othersAreServed()])
      if (findings.length > 0) {
        const shown = frames.map((f) => (f.length > 400 ? `${f.slice(0, 400)}…` : f)).join('\n')
        throw new Error(`burst ${bursts}:\n${findings.join('\n')}\n${shown}`)
      }
      sent += count
      if (bursts % 20 === 19) {
        const [ending, codes] = luck.pick(ENDINGS)
        client.socket.send(ending)
        expect(codes).toContain((await client.whenClose()).code)
        client = await Client.connect(server.wsUrl, await freshToken())
      }
      if (heapBefore === 0 && sent > RUNS / 4) heapBefore = heapSize()
    }
    expect(heapSize() - heapBefore).toBeLessThan(HEAP_GROWTH_MAX)
    await client.close()
  },
  Math.max(60_000, RUNS * 5),
)

function heapSize(): number {
  Bun.gc(true)
  return heapStats().heapSize
}

/** What the fuzzer has found. */
describe('found before', () => {
  const frame = (type: string, payload: unknown) => ({ type, payload })
  const dashes = Buffer.from(`2024-01-01T00:00:00.000Z ${'-'.repeat(36)}`).toString('base64url')
  test.each([
    ['bad frames are answered in their turn', [frame('users.list', {}), frame('ping', 'text'), {}]],
    ['U+0000 in a value', [frame('users.list', { cursor: '\0' })]],
    ['U+0000 in a name', [frame('users.list', { 'a\0': 1 })]],
    ['a channel whose id is no UUID', [frame('subscribe', { channel: 'conversation:x' })]],
    ['a cursor whose id is no UUID', [frame('conversations.list', { cursor: dashes })]],
  ])('%s', async (_name, frames) => {
    const client = await Client.connect(server.wsUrl, await freshToken())
    const texts = frames.map((f, n) => JSON.stringify({ ...f, id: `f${n}` }))
    expect(await burst(client, texts)).toEqual([])
    await client.close()
  })
})

describe('the controls', () => {
  test('an inner error is found', async () => {
    const frames = ['works', 'crash'].map((text, n) =>
      JSON.stringify({ type: 'lab.note', id: `f${n}`, payload: { on: 'x', text } }),
    )
    const client = await Client.connect(server.wsUrl, await freshToken())
    expect(await burst(client, frames)).toEqual([expect.stringContaining('f1: internal')])
    await client.close()
  })

  test.each([
    ['that answers when it is done', (n: number) => [n]],
    ['that answers one twice', (n: number) => (n === 3 ? [0, 0] : [0])],
    ['that forgets one', (n: number) => (n === 3 ? [] : [0])],
  ])('a naive server %s is found', async (_name, delays) => {
    let count = 0
    const naive = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: (request, self) => (self.upgrade(request) ? undefined : new Response()),
      websocket: {
        message(socket, text) {
          const { id } = JSON.parse(String(text)) as { id: string }
          const answer = JSON.stringify({ type: 'ack', id, payload: {} })
          const last = id === 'the last'
          for (const ms of last ? [50] : delays(10 - count++)) {
            setTimeout(() => socket.send(answer), ms)
          }
        },
      },
    })
    const client = await Client.open(`ws://127.0.0.1:${naive.port}`)
    const frames = Array.from({ length: 8 }, (_, n) => JSON.stringify({ type: 'x', id: `f${n}` }))
    expect(await burst(client, frames)).toEqual([expect.stringContaining('answered')])
    await client.close()
    await naive.stop(true)
  })
})
