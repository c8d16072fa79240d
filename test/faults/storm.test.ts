import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { features } from '../../src/features.ts'
import { budget, full } from '../support/budget.ts'
import { Client } from '../support/client.ts'
import { labFeature } from '../support/lab.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { Swarm } from '../support/swarm.ts'
import { strangers } from '../support/tokens.ts'
import { until } from '../support/wait.ts'

/** Everybody’s line is cut at once, and everybody comes back at once, without any back-off. */

const CLIENTS = budget(500, 10_000)
const MISSED = 10
const BACK_MS_MAX = 30_000

let server: TestServer
let writer: Client
let swarm: Swarm

beforeAll(async () => {
  server = await testServer({ features: [...features, labFeature] })
  const tokens = (await strangers(server, CLIENTS + 1)).map(({ token }) => token)
  writer = await Client.connect(server.wsUrl, tokens.pop() ?? '')
  swarm = new Swarm()
  await swarm.open(server.wsUrl, tokens, 'lab:storm')
}, 120_000)
afterAll(async () => {
  await writer.close()
  await swarm.end()
  await server.stop()
})

const publish = async (count: number) => {
  for (let n = 0; n < count; n++) await writer.ask('lab.note_fast', { on: 'storm', text: `${n}` })
}

describe('a storm of reconnects', () => {
  test(
    'is over in half a minute, and nobody has missed anything',
    async () => {
      await publish(3)
      await swarm.drop()
      await until(() => server.core.sockets.size() === 1, 'all lines are down')
      await publish(MISSED)
      const { ms, failures } = await swarm.back()
      if (full) console.log(`${CLIENTS} back after ${ms.toFixed()} ms, ${failures} attempts failed`)
      expect(ms).toBeLessThan(BACK_MS_MAX)
      await publish(3)
      const published = 3 + MISSED + 3
      await until(async () => (await swarm.report()).lowest === published, 'all have everything')
      expect(await swarm.report()).toMatchObject({
        open: CLIENTS,
        highest: published,
        received: CLIENTS * published,
        recovered: CLIENTS,
        refused: 0,
        faults: [],
      })
      expect(server.core.sockets.size()).toBe(CLIENTS + 1)
    },
    BACK_MS_MAX + 60_000,
  )

  test('leaves nothing of those who go while they are arriving', async () => {
    const channels = server.core.hub.channels()
    const people = await strangers(server, budget(200, 2_000))
    for (const { token } of people) {
      const socket = new WebSocket(`${server.wsUrl}?token=${token}`)
      socket.addEventListener('open', () => socket.terminate())
      if (Math.random() < 0.2) await Bun.sleep(0)
    }
    const left = () => [server.core.sockets.size(), server.core.hub.channels()].join()
    await until(() => left() === `${CLIENTS + 1},${channels}`, 'as before').catch(() => {
      throw new Error(`${left()} instead of ${CLIENTS + 1},${channels}`)
    })
    expect(people.filter(({ id }) => server.kernel.presence.connections(id) > 0)).toEqual([])
  })

  test('control: a client that comes back without its position has missed something', async () => {
    const [who] = await strangers(server, 1)
    const before = await Client.connect(server.wsUrl, who?.token ?? '')
    const { offset } = await before.ask<{ offset: number }>('subscribe', { channel: 'lab:storm' })
    before.cut()
    await publish(MISSED)
    const after = await Client.connect(server.wsUrl, who?.token ?? '')
    await after.ask('subscribe', { channel: 'lab:storm' })
    await publish(1)
    const next = await after.wait(({ type }) => type === 'noted')
    expect(next.offset).toBe(offset + MISSED + 1)
    await after.close()
  })
})
