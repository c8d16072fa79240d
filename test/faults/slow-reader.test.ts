import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { GATEWAY_LIMITS } from '../../realtime/codes.ts'
import type { Connection } from '../../realtime/connection.ts'
import { features } from '../../src/features.ts'
import { budget, full } from '../support/budget.ts'
import { Client } from '../support/client.ts'
import { labFeature } from '../support/lab.ts'
import { RawSocket } from '../support/raw-socket.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { Swarm } from '../support/swarm.ts'
import { strangers } from '../support/tokens.ts'
import { until } from '../support/wait.ts'

/** Some of the readers of a channel do not read. They go; the others notice nothing. */

const SLOW = budget(20, 100)
const READERS = budget(200, 1_000)
const CLOSED_MS_MAX = 5_000
/** The kernel takes some 4 MB for a line that is not read; the server's own queue comes after. */
const TEXT = 'x'.repeat(1_990)
const ROUNDS_MAX = 600
const QUEUE = GATEWAY_LIMITS.outgoingBytesMax

let server: TestServer
let swarm: Swarm
let writer: Client
let slow: RawSocket[]

beforeAll(async () => {
  server = await testServer({ features: [...features, labFeature] })
  const people = await strangers(server, READERS + SLOW + 1)
  const tokens = people.map(({ token }) => token)
  swarm = new Swarm()
  await swarm.open(server.wsUrl, tokens.slice(0, READERS), 'lab:fan')
  writer = await Client.connect(server.wsUrl, tokens.at(-1) ?? '')
  slow = await Promise.all(tokens.slice(READERS, READERS + SLOW).map(joinAndStopReading))
})
afterAll(async () => {
  for (const socket of slow) socket.end()
  await swarm.end()
  await server.stop()
})

async function joinAndStopReading(token: string): Promise<RawSocket> {
  const socket = await RawSocket.open(server.port, `/ws?token=${token}`)
  // The second is what fills their lines, without costing the others as much.
  for (const channel of ['lab:fan', 'lab:ballast']) {
    socket.send({ type: 'subscribe', id: channel, payload: { channel } })
    await socket.sees(`"id":"${channel}"`)
  }
  socket.pause()
  return socket
}

/** How long each connection has had a full queue; and how much all queues held at most. */
class Queues {
  readonly fullSinceMs = new Map<Connection, number>()
  bytesMax = 0
  waitedMsMax = 0
  private readonly timer = setInterval(() => this.look(), 10)

  look(): void {
    const nowMs = performance.now()
    let bytes = 0
    const open = new Set(server.core.sockets.all())
    for (const connection of open) {
      const queued = connection.socket?.getBufferedAmount() ?? 0
      bytes += queued
      if (queued > QUEUE - 2 * TEXT.length && !this.fullSinceMs.has(connection)) {
        this.fullSinceMs.set(connection, nowMs)
      }
    }
    this.bytesMax = Math.max(this.bytesMax, bytes)
    for (const [connection, sinceMs] of this.fullSinceMs) {
      if (open.has(connection)) this.waitedMsMax = Math.max(this.waitedMsMax, nowMs - sinceMs)
      else this.fullSinceMs.delete(connection)
    }
  }

  stop(): void {
    clearInterval(this.timer)
    this.look()
  }
}

async function closedAs4001(): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text()
  return Number(/^socket_closed_total\{code="4001"\} (\d+)/m.exec(text)?.[1] ?? 0)
}

/** Publishes until the slow ones are gone; returns how much the others should have got. */
async function flood(): Promise<number> {
  let published = 0
  for (let round = 0; round < ROUNDS_MAX && server.core.sockets.size() > READERS + 1; round++) {
    const notes = [...Array.from({ length: 9 }, () => 'ballast'), 'fan']
    await Promise.all(notes.map((on) => writer.ask('lab.note_fast', { on, text: TEXT })))
    published++
    // Some 2 MB/s: what one line bears, and slow enough for queues to be seen while they fill.
    await Bun.sleep(8)
  }
  return published
}

describe('a reader that does not read', () => {
  test('is closed, and the others get everything in order', async () => {
    const queues = new Queues()
    const memoryBefore = process.memoryUsage.rss()
    const published = await flood()
    expect(server.core.sockets.size()).toBe(READERS + 1)
    queues.stop()
    expect(queues.waitedMsMax).toBeLessThan(CLOSED_MS_MAX)
    // Each queue is bounded by its limit and the frame that went beyond it.
    expect(queues.bytesMax).toBeLessThan(SLOW * (QUEUE + 2 * TEXT.length))
    if (full) {
      const grownMb = (process.memoryUsage.rss() - memoryBefore) / 2 ** 20
      const queuedMb = queues.bytesMax / 2 ** 20
      console.log(
        `${published} events; queues ${queuedMb.toFixed()} MB, process ${grownMb.toFixed()} MB`,
      )
    }
    const reached = async () => (await swarm.report()).lowest === published
    await until(reached, `all others are at ${published}`)
    expect(await swarm.report()).toMatchObject({ open: READERS, highest: published, faults: [] })
    expect(await closedAs4001()).toBe(SLOW)
  })

  test('control: with the runtime’s defaults it stays, and silently loses events', async () => {
    const naive = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: (request, it) =>
        it.upgrade(request) ? undefined : new Response(null, { status: 426 }),
      websocket: { open: (socket) => void socket.subscribe('all'), message() {} },
    })
    const reader = await RawSocket.open(naive.port ?? 0, '/')
    reader.pause()
    const events = 12_000
    for (let n = 0; n < events; n++) {
      naive.publish('all', `${TEXT} ${n}`)
      if (n % 100 === 0) await Bun.sleep(0)
    }
    await Bun.sleep(100)
    reader.resume()
    await Bun.sleep(500)
    expect(reader.closed).toBe(false)
    expect(reader.received.match(/x \d+/g)?.length ?? 0).toBeLessThan(events)
    reader.end()
    await naive.stop(true)
  })
})
