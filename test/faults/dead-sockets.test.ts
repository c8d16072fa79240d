import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { GATEWAY_LIMITS } from '../../realtime/codes.ts'
import { features } from '../../src/features.ts'
import { budget, full } from '../support/budget.ts'
import { Client } from '../support/client.ts'
import { labFeature } from '../support/lab.ts'
import { type Link, makeLink, whyNoLink } from '../support/link.ts'
import { type Person, person, writes } from '../support/people.ts'
import { RawSocket } from '../support/raw-socket.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { Swarm } from '../support/swarm.ts'
import { strangers } from '../support/tokens.ts'
import { until } from '../support/wait.ts'

/**
 * Clients fall silent: some because their network is gone, which nobody tells the server, some
 * because they hang. The heartbeat finds both.
 */

const noLink = whyNoLink()
const BEHIND_LINK = noLink === undefined ? budget(100, 1_000) : 0
const HANGING = budget(30, 100)
/** The real ones in the full run; else the shortest that the runtime can do. */
const { heartbeatMs, deadAfterMs } = full
  ? GATEWAY_LIMITS
  : { heartbeatMs: 4_000, deadAfterMs: 4_000 }
const GONE_MS_MAX = heartbeatMs + deadAfterMs
/** Grace against flicker, and changes being announced once a second. */
const OFFLINE_MS_MAX = GONE_MS_MAX + 6_000
const SLACK_MS = 1_500

let server: TestServer
let link: Link | undefined
let swarm: Swarm | undefined
let ada: Person
let bob: Person

beforeAll(async () => {
  server = await testServer({
    features: [...features, labFeature],
    env: { HOST: '0.0.0.0' },
    gatewayLimits: { heartbeatMs, deadAfterMs },
  })
  ada = await person(server, 'ada')
  bob = await person(server, 'bob')
  if (noLink !== undefined) return console.log(`dead sockets: no link to take down: ${noLink}`)
  link = makeLink()
  swarm = new Swarm(link.within)
})
afterAll(async () => {
  await swarm?.end()
  link?.remove()
  await server.stop()
})

async function closedAs4000(): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text()
  return Number(/^socket_closed_total\{code="4000"\} (\d+)/m.exec(text)?.[1] ?? 0)
}

test(
  'sockets that fall silent are closed, and their users said to be offline',
  async () => {
    const watcher = await Client.connect(server.wsUrl, ada.token)
    await writes(server, bob, ada)
    const people = await strangers(server, BEHIND_LINK + HANGING - 1)
    const tokens = people.map(({ token }) => token)
    const url = `ws://${link?.address}:${server.port}/ws`
    await swarm?.open(url, tokens.slice(0, BEHIND_LINK), 'lab:dead')
    // They read no frame, so they answer no ping; bob is one of them.
    const hanging = await Promise.all(
      [...tokens.slice(BEHIND_LINK), bob.token].map((token) =>
        RawSocket.open(server.port, `/ws?token=${token}`),
      ),
    )
    const naive = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: (request, it) =>
        it.upgrade(request) ? undefined : new Response(null, { status: 426 }),
      // No pings, and no time after which silence means anything.
      websocket: { idleTimeout: 0, sendPings: false, message() {} },
    })
    const control = await RawSocket.open(naive.port ?? 0, '/')
    const dead = BEHIND_LINK + HANGING
    expect(server.core.sockets.size()).toBe(dead + 1)
    await until(() => server.kernel.presence.onlineCount() === dead + 1, 'all are online')

    link?.down()
    const startMs = performance.now()
    await until(() => server.core.sockets.size() === 1, 'all are gone', GONE_MS_MAX + SLACK_MS)
    if (full) console.log(`${dead} gone after ${(performance.now() - startMs).toFixed()} ms`)
    const offline = await watcher.wait(
      ({ type, payload }) => type === 'presence_update' && payload['status'] === 'offline',
      OFFLINE_MS_MAX + SLACK_MS - (performance.now() - startMs),
    )
    expect(offline.payload['user_id']).toBe(bob.id)
    expect(server.kernel.presence.onlineCount()).toBe(1)
    // Nothing is kept of them, and the one who answers is still there.
    expect(server.core.hub.channels()).toBe(1)
    expect(watcher.closed).toBeUndefined()
    expect(await closedAs4000()).toBe(dead)
    // The control waits for ever.
    expect(control.closed).toBe(false)

    for (const socket of [...hanging, control]) socket.end()
    await naive.stop(true)
    await watcher.close()
  },
  OFFLINE_MS_MAX + 30_000,
)

describe('the time that is told', () => {
  test('is the one that is kept', async () => {
    const client = await Client.connect(server.wsUrl, ada.token)
    expect(client.frames[0]?.payload['heartbeat_ms']).toBe(heartbeatMs)
    await client.close()
  })
})
