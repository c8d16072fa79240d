import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { budget, chance } from '../support/budget.ts'
import { Client } from '../support/client.ts'
import { type Person, person } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { noise } from './frame-generator.ts'
import { OPCODE, RawSocket, upgradeRequest, wsFrame } from './raw-socket.ts'

/** Connections that begin well and go on with bytes by chance. */
const CONNECTIONS = budget(250, 10_000)
const HALF_OPEN = 100

let server: TestServer
let ada: Person
let healthy: Client
let path: string

beforeAll(async () => {
  server = await testServer({ gatewayLimits: { connectionsPerUserMax: 1_000 } })
  ada = await person(server, 'ada')
  path = `/ws?token=${ada.token}`
  healthy = await Client.connect(server.wsUrl, (await person(server, 'healthy')).token)
})
afterAll(() => server.stop())
// Whatever a connection has done to itself, the next one finds the server as it was.
beforeEach(async () => {
  expect((await healthy.call('ping')).type).toBe('pong')
})

const ping = (id: string) => JSON.stringify({ type: 'ping', id })
const bytes = (...values: number[]) => new Uint8Array(values)
const closeWith = (code: number) => wsFrame(OPCODE.close, bytes(code >> 8, code & 255))

/** Each must end its connection: RFC 6455, 5.1 to 5.5 and 7.4. */
const violations: [name: string, bytes: () => Uint8Array][] = [
  ['without a mask', () => wsFrame(OPCODE.text, ping('x'), { masked: false })],
  ...[1, 2, 4].map((rsv): [string, () => Uint8Array] => [
    `with reserved bit ${rsv}`,
    () => wsFrame(OPCODE.text, ping('x'), { rsv }),
  ]),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode): [string, () => Uint8Array] => [
    `with reserved opcode ${opcode}`,
    () => wsFrame(opcode, ping('x')),
  ]),
  ['that go on with nothing', () => wsFrame(OPCODE.continuation, ping('x'))],
  [
    'that begin anew before the last is whole',
    () =>
      Buffer.concat([
        wsFrame(OPCODE.text, '{"type":', { fin: false }),
        wsFrame(OPCODE.text, ping('x')),
      ]),
  ],
  ['with a fragmented ping', () => wsFrame(OPCODE.ping, 'x', { fin: false })],
  ['with a ping of 126 bytes', () => wsFrame(OPCODE.ping, 'x'.repeat(126))],
  [
    'with a negative length',
    () => wsFrame(OPCODE.text, 'x', { length: 2n ** 63n, lengthBytes: 8 }),
  ],
  ['with a length beyond memory', () => wsFrame(OPCODE.text, 'x', { length: 2n ** 62n })],
  ['with a length beyond the limit', () => wsFrame(OPCODE.text, 'x', { length: 65_537 })],
  ['that are whole and too big', () => wsFrame(OPCODE.text, 'x'.repeat(70_000))],
  [
    'that grow too big in fragments',
    () => {
      const part = 'x'.repeat(10_000)
      const more = Array.from({ length: 8 }, () =>
        wsFrame(OPCODE.continuation, part, { fin: false }),
      )
      return Buffer.concat([wsFrame(OPCODE.text, part, { fin: false }), ...more])
    },
  ],
  ['that are not UTF-8', () => wsFrame(OPCODE.text, bytes(0x7b, 0xc3, 0x28, 0x7d))],
  ['with a surrogate in UTF-8', () => wsFrame(OPCODE.text, bytes(0xed, 0xa0, 0x80))],
  ['with an overlong character', () => wsFrame(OPCODE.text, bytes(0xc0, 0xaf))],
  ['with half a character', () => wsFrame(OPCODE.text, bytes(0xe2, 0x82))],
  ['that are binary', () => wsFrame(OPCODE.binary, ping('x'))],
  ['that close', () => closeWith(1000)],
  ['that close without a code', () => wsFrame(OPCODE.close, '')],
  ['that close with half a code', () => wsFrame(OPCODE.close, bytes(3))],
  ['that close with a reserved code', () => closeWith(1005)],
  ['that close with no code there is', () => closeWith(65_535)],
  ['that close with a reason not in UTF-8', () => wsFrame(OPCODE.close, bytes(3, 232, 0xff))],
]

/** Each is allowed, however odd, and must be understood. */
const oddities: [name: string, bytes: () => Uint8Array[]][] = [
  ['byte by byte', () => [...wsFrame(OPCODE.text, ping('odd'))].map((byte) => bytes(byte))],
  [
    'in fragments, with a ping and an empty one between',
    () => {
      const text = ping('odd')
      return [
        wsFrame(OPCODE.text, text.slice(0, 5), { fin: false }),
        wsFrame(OPCODE.ping, 'are you there'),
        wsFrame(OPCODE.continuation, '', { fin: false }),
        wsFrame(OPCODE.continuation, text.slice(5)),
      ]
    },
  ],
  [
    'in fragments that cut a character',
    () => {
      const text = Buffer.from(JSON.stringify({ type: 'ping', id: 'odd', payload: { a: '€' } }))
      const cut = text.indexOf('€') + 1
      return [
        wsFrame(OPCODE.text, text.subarray(0, cut), { fin: false }),
        wsFrame(OPCODE.continuation, text.subarray(cut)),
      ]
    },
  ],
  [
    'many in one packet',
    () => [Buffer.concat(['a', 'b', 'odd'].map((id) => wsFrame(1, ping(id))))],
  ],
  ['with a length written long', () => [wsFrame(OPCODE.text, ping('odd'), { lengthBytes: 8 })]],
  ['after an unasked pong', () => [wsFrame(OPCODE.pong, 'x'), wsFrame(OPCODE.text, ping('odd'))]],
  ['of nothing, then a good one', () => [wsFrame(1, ''), wsFrame(OPCODE.text, ping('odd'))]],
]

describe('frames', () => {
  test.each(violations)('%s end their connection and no other', async (_name, make) => {
    const raw = await RawSocket.upgraded(server.port, path)
    raw.write(make())
    // What comes after must not be looked at.
    raw.write(wsFrame(OPCODE.text, ping('afterwards')))
    await raw.end()
    expect(raw.received.includes('afterwards')).toBe(false)
    raw.destroy()
  })

  test.each(oddities)('%s are understood', async (_name, make) => {
    const raw = await RawSocket.upgraded(server.port, path)
    for (const part of make()) {
      raw.write(part)
      await Bun.sleep(1)
    }
    await raw.sees('"pong","id":"odd"')
    raw.destroy()
  })

  test(
    `by chance, on ${CONNECTIONS} connections, harm nobody else`,
    async () => {
      const luck = chance('tcp fuzz')
      const often = (share: number) => luck.next() < share
      for (let n = 0; n < CONNECTIONS; n++) {
        const raw = await RawSocket.upgraded(server.port, path)
        for (let packets = luck.below(5); packets >= 0; packets--) {
          const junk = Buffer.from(noise(1 + luck.below(300), luck), 'latin1')
          const frame = wsFrame(luck.below(16), junk, {
            fin: often(0.7),
            masked: often(0.9),
            rsv: often(0.9) ? 0 : luck.below(8),
            ...(often(0.1) ? { length: luck.below(70_000) } : {}),
          })
          raw.write(often(0.3) ? junk : frame)
          if (often(0.3)) await Bun.sleep(0)
        }
        if (n % 10 === 0) expect((await healthy.call('ping')).type).toBe('pong')
        raw.destroy()
      }
      await allGone()
    },
    Math.max(30_000, CONNECTIONS * 100),
  )
})

describe('upgrades', () => {
  const refused: [name: string, request: () => string, status: number][] = [
    ['of another version', () => upgradeRequest(path, { 'Sec-WebSocket-Version': '12' }), 0],
    ['without a key', () => upgradeRequest(path).replace(/Sec-WebSocket-Key.*\r\n/, ''), 0],
    ['to something else', () => upgradeRequest(path, { Upgrade: 'h2c' }), 0],
    ['by POST', () => upgradeRequest(path).replace('GET', 'POST'), 0],
    ['with a forged token', () => upgradeRequest(`${path}x`), 401],
    ['with 20 KB of header', () => upgradeRequest(path, { 'X-Long': 'x'.repeat(20_000) }), 431],
    ['that are no HTTP', () => 'once upon a time\r\n\r\n', 400],
  ]
  test.each(refused)('%s become no socket', async (_name, request, status) => {
    const raw = await RawSocket.open(server.port)
    raw.write(request())
    await Promise.race([raw.sees('HTTP/1.1 '), raw.end()])
    const answer = raw.received.toString('latin1')
    expect(answer).not.toContain(' 101 ')
    expect(answer).not.toMatch(/^HTTP\/1.1 5/)
    if (status !== 0 && answer !== '') expect(answer).toContain(` ${status} `)
    raw.destroy()
  })

  test('byte by byte are waited for', async () => {
    const raw = await RawSocket.open(server.port)
    for (const char of upgradeRequest('/ws')) {
      raw.write(char)
      await Bun.sleep(0)
    }
    await raw.sees(' 101 ')
    raw.destroy()
  })

  test(`half done, ${HALF_OPEN} at once, keep nobody else out`, async () => {
    const half = await Promise.all(
      Array.from({ length: HALF_OPEN }, async (_, n) => {
        const raw = await RawSocket.open(server.port)
        const request = upgradeRequest(path)
        raw.write(request.slice(0, 1 + ((n * 7) % (request.length - 2))))
        return raw
      }),
    )
    const startMs = performance.now()
    const clients = await Promise.all(
      Array.from({ length: 5 }, () => Client.connect(server.wsUrl, ada.token)),
    )
    expect(performance.now() - startMs).toBeLessThan(2_000)
    await Promise.all(clients.map((client) => client.close()))
    for (const raw of half) raw.destroy()
    await allGone()
  })
})

/** Only the healthy client is left: no connection of a broken line stays behind. */
async function allGone(): Promise<void> {
  await until(() => server.core.sockets.size() === 1, 'only one connection is left')
}
