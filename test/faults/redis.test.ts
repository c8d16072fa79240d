import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Authenticator } from '../../src/auth/index.ts'
import { features } from '../../src/features.ts'
import { budget } from '../support/budget.ts'
import { Client } from '../support/client.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { labFeature } from '../support/lab.ts'
import { device, type Person, person, rest } from '../support/people.ts'
import { redisProgram, startRedis, type TestRedis } from '../support/redis.ts'
import { FAULTLESS, faultsOf } from '../support/sequence.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** Redis makes things fast; nothing that matters may depend on it. */

/** A second, and what a busy machine adds. */
const REVOKED_MS_MAX = 1_500

interface Pair {
  readonly database: TestDatabase
  readonly here: TestServer
  readonly there: TestServer
  readonly ada: Person
  stop(): Promise<void>
}

async function pair(env: Record<string, string>): Promise<Pair> {
  const database = await testDatabase()
  const options = { features: [...features, labFeature], database, env }
  const [here, there] = [await testServer(options), await testServer(options)]
  const met = () => [here, there].every(({ core }) => core.instances.others().size === 1)
  await until(met, 'they met')
  return {
    database,
    here,
    there,
    ada: await person(here, 'ada'),
    async stop() {
      await here.stop()
      await there.stop()
      await database.drop()
    },
  }
}

describe.skipIf(redisProgram === null)('when Redis goes away', () => {
  let redis: TestRedis
  let two: Pair
  beforeAll(async () => {
    redis = await startRedis()
    two = await pair({ REDIS_URL: redis.url })
  })
  afterAll(async () => {
    await two.stop()
    await redis.remove()
  })

  test('every durable event still arrives at the other instance, once and in order', async () => {
    const writer = await Client.connect(two.here.wsUrl, two.ada.token)
    const reader = await Client.connect(two.there.wsUrl, two.ada.token)
    await reader.ask('subscribe', { channel: 'lab:redis' })
    await reader.ask('subscribe', { channel: 'board:redis' })
    let [sent, stopped] = [0, false]
    const writing = (async () => {
      while (!stopped) {
        const note = { on: 'redis', text: String(sent++) }
        await writer.ask(sent % 2 === 0 ? 'lab.note' : 'lab.note_fast', note)
        await writer.ask('lab.show', note)
        await Bun.sleep(5)
      }
    })()
    for (let n = 0; n < budget(2, 20); n++) {
      await Bun.sleep(200)
      await redis.kill()
      await Bun.sleep(600)
      await redis.start()
      await Bun.sleep(300)
      await redis.flushAll()
    }
    stopped = true
    await writing
    const offsets = (type: string) => reader.events(type).map(({ offset }) => offset as number)
    await until(() => offsets('noted').length >= sent, 'all are there', 5_000)
    expect(faultsOf(offsets('noted'), 0)).toEqual(FAULTLESS)
    // Of a cache channel, the newest; and never an older one after it.
    await until(() => offsets('shown').at(-1) === sent, 'the newest is there', 5_000)
    expect(offsets('shown')).toEqual(offsets('shown').toSorted((a, b) => a - b))
    await Promise.all([writer.close(), reader.close()])
  })

  test('whoever connects meanwhile is known everywhere once it is back', async () => {
    const bob = await person(two.here, 'bob')
    await redis.kill()
    const client = await Client.connect(two.there.wsUrl, bob.token)
    await Bun.sleep(200)
    expect(two.here.kernel.presence.connections(bob.id)).toBe(0)
    await redis.start()
    await until(() => two.here.kernel.presence.connections(bob.id) === 1, 'bob is known', 5_000)
    await client.close()
    await until(() => two.here.kernel.presence.connections(bob.id) === 0, 'bob is gone', 5_000)
  })

  test.each([
    ['the line to it', false],
    ['every line to it', true],
  ])('%s is cut, and whoever connects meanwhile is known', async (_name, all) => {
    const bob = await person(two.here, 'bob')
    const client = await Client.connect(two.there.wsUrl, bob.token)
    await redis.cutLines(all)
    await until(() => two.here.kernel.presence.connections(bob.id) === 1, 'bob is known', 3_000)
    await client.close()
  })

  test('and is not there when a server starts, it is used as soon as it comes', async () => {
    await redis.kill()
    const options = { features: [...features, labFeature], database: two.database }
    const third = await testServer({ ...options, env: { REDIS_URL: redis.url } })
    await redis.start()
    await until(() => third.core.broker.ready(), 'the third has Redis')
    const client = await Client.connect(third.wsUrl, two.ada.token)
    const known = () => two.here.kernel.presence.connections(two.ada.id)
    await until(() => known() === 1, 'the third is heard')
    await client.close()
    await third.stop()
  })
})

describe.each(['running', 'stopped', 'absent'])('a logout, with Redis %s', (state) => {
  const wanted = state !== 'absent'
  let redis: TestRedis | undefined
  let two: Pair
  beforeAll(async () => {
    if (wanted && redisProgram === null) return
    redis = wanted ? await startRedis() : undefined
    two = await pair(redis === undefined ? {} : { REDIS_URL: redis.url })
    if (state === 'stopped') await redis?.kill()
  })
  afterAll(async () => {
    await two?.stop()
    await redis?.remove()
  })

  test.skipIf(wanted && redisProgram === null)(
    'closes the socket at the other instance and is refused there, within a second',
    async () => {
      // What only listens to the bus, as a naive instance would, hears this often.
      const authenticator = two.there.kernel.use(Authenticator)
      const apply = authenticator.applyRevoked
      let heard = 0
      authenticator.applyRevoked = (ids) => {
        heard += ids.length
        apply(ids)
      }
      const times = budget(3, 30)
      for (let n = 0; n < times; n++) {
        const there = await device(two.here, two.ada)
        const stays = await device(two.here, two.ada)
        const [closing, staying] = await Promise.all(
          [there, stays].map(({ token }) => Client.connect(two.there.wsUrl, token)),
        )
        await rest(two.here, 'POST', '/api/v1/auth/logout', { token: there.token, body: {} })
        const startMs = performance.now()
        expect(await closing?.whenClose()).toMatchObject({ code: 4502 })
        expect(performance.now() - startMs).toBeLessThan(REVOKED_MS_MAX)
        const refused = async () =>
          (await rest(two.there, 'GET', '/api/v1/auth/me', { token: there.token })).status === 401
        await until(refused, 'REST refuses it')
        expect(performance.now() - startMs).toBeLessThan(REVOKED_MS_MAX)
        expect(staying?.closed).toBeUndefined()
        await staying?.close()
      }
      expect(heard).toBe(state === 'stopped' ? 0 : times)
    },
  )
})
