import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { insertOutbox } from '../../realtime/streams/outbox.ts'
import { systemClock } from '../../src/base/clock.ts'
import { tellServices } from '../../src/kernel/service-event.ts'
import { budget } from '../support/budget.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { administrator } from '../support/people.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import {
  happened,
  later,
  LOOPBACK,
  makeService,
  type Service,
  tell,
  webhookServer,
} from './setup.ts'

/** Webhooks of several servers on one database, and of servers that die. */

const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, n) => from + n)
const ns = (one: Receiver) => one.received.map(({ body }) => body.data.n as number)

let database: TestDatabase
let receiver: Receiver
beforeEach(async () => {
  database = await testDatabase()
  receiver = await startReceiver()
})
afterEach(async () => {
  await receiver.stop()
  await database.drop()
})

/** The first server, with the receiver as its one endpoint. */
async function begin(): Promise<{ server: TestServer; service: Service; id: string }> {
  const server = await webhookServer({ database })
  const admin = await administrator(server)
  const service = await makeService(server, admin.id)
  const { id } = await service.create({ url: receiver.url, events: ['test.happened'] })
  return { server, service, id }
}

describe('three instances', () => {
  test('send every event once and in order, while all of them let things happen', async () => {
    const { server, service, id } = await begin()
    const others = [await webhookServer({ database }), await webhookServer({ database })]
    try {
      const all = [server, ...others]
      await Promise.all(
        all.map(async (one, n) => {
          for (const step of numbers(20)) await tell(one, numbers(5, n * 1_000 + step * 10))
        }),
      )
      await receiver.wait(300, 20_000)
      await Bun.sleep(300)
      const offsets = receiver.received.map(({ body }) => body.offset as number)
      expect(offsets).toEqual(numbers(300, offsets[0]))
      expect(new Set(ns(receiver)).size).toBe(300)
      expect(await service.get(id)).toMatchObject({ behind: 0, missed: 0 })
    } finally {
      for (const one of others) await one.stop()
      await server.stop()
    }
  }, 60_000)

  test('take over from one that goes away', async () => {
    const { server } = await begin()
    const other = await webhookServer({ database })
    try {
      receiver.reply({ status: 200, afterMs: 30 })
      await tell(other, numbers(60))
      await receiver.wait(10)
      await server.stop()
      await until(() => new Set(ns(receiver)).size === 60, 'all have arrived', 20_000)
      // What was under way when it went is sent again.
      expect(receiver.received.length).toBeWithin(60, 63)
    } finally {
      await other.stop()
    }
  }, 60_000)
})

test('one that takes nothing costs no more than its share, and gets everything later', async () => {
  const { server, service, id } = await begin()
  try {
    receiver.reply(500)
    for (const n of numbers(25)) await tell(server, numbers(100, n * 100))
    const waiting = async () => {
      const [row] = await server.kernel.db.sql`select count(*)::int as n from webhook_deliveries`
      return row.n as number
    }
    await until(async () => (await waiting()) >= 1_000, 'as many wait as may')
    await Bun.sleep(1_200)
    expect(await waiting()).toBeWithin(1_000, 1_200)
    expect((await service.get(id))['behind']).toBeGreaterThan(1_000)
    receiver.reply(200)
    const before = receiver.received.length
    await later(server, 400_000)
    await until(() => new Set(ns(receiver).slice(before)).size === 2_500, 'all are there', 80_000)
    expect(await service.get(id)).toMatchObject({ behind: 0, missed: 0 })
  } finally {
    await server.stop()
  }
}, 150_000)

describe('a server that is killed', () => {
  /** A server in a process of its own. */
  async function child() {
    const path = `${import.meta.dir}/../support/server-process.ts`
    const command = [process.execPath, '--no-env-file', path]
    const process_ = Bun.spawn([...command, database.ownerUrl, JSON.stringify(LOOPBACK)], {
      stdout: 'pipe',
      stderr: 'inherit',
    })
    for await (const _line of process_.stdout) break
    return process_
  }
  /** Lets something happen with no server running. */
  const tellOffline = (n: number[]) =>
    database.db.transaction(async ({ sql }) => {
      await insertOutbox(
        sql,
        n.map((one) => tellServices(happened, systemClock, { n: one })),
      )
    })

  const KILLS = budget(2, 40)
  test(`loses nothing, and what it had sent has the same id (${KILLS} times)`, async () => {
    const { server } = await begin()
    await server.stop()
    const each = 20
    receiver.reply({ status: 200, afterMs: 5 })
    for (const kill of numbers(KILLS)) {
      const running = await child()
      try {
        await tellOffline(numbers(each, kill * 1_000))
        const before = receiver.received.length
        // Usually the job is taken over in seconds. One that has seen its server die twenty times
        // is given up, and the next waits until the endpoint is free.
        await until(() => receiver.received.length > before + (kill % each), 'it sends', 60_000)
      } finally {
        running.kill('SIGKILL')
        await running.exited
      }
      // The control: what a server only remembered would be lost now.
      expect(new Set(ns(receiver)).size).toBeLessThan(kill * each)
    }
    const last = await child()
    try {
      const expected = numbers(KILLS).flatMap((kill) => numbers(each, kill * 1_000))
      await until(() => new Set(ns(receiver)).size === expected.length, 'all are there', 60_000)
      // Sorted by their places, they are what was told, in that order: each place is one event.
      const byId = new Map(receiver.received.map(({ id, body }) => [id, body]))
      const places = [...byId.values()].toSorted((a, b) => a.offset - b.offset)
      expect(places.map(({ data }) => data.n)).toEqual(expected)
    } finally {
      last.kill('SIGTERM')
      await last.exited
    }
  }, 900_000)
})
