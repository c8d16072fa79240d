import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { SQL } from 'bun'
import { features } from '../../src/features.ts'
import { Client } from '../support/client.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { labFeature } from '../support/lab.ts'
import { type Proxy, startProxy } from '../support/proxy.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { strangers } from '../support/tokens.ts'

/**
 * The line to the database breaks while a commit is under way: it counts, but its answer is lost.
 * A trigger that sleeps within the commit makes room for that.
 */

const COMMIT_S = 0.3

let database: TestDatabase
let proxy: Proxy
let server: TestServer
let client: Client
let watcher: Client

beforeAll(async () => {
  database = await testDatabase()
  const owner = new SQL({ url: database.ownerUrl, max: 1 })
  await owner.unsafe(`
    create function slow_commit() returns trigger language plpgsql as
      $$ begin perform pg_sleep(${COMMIT_S}); return null; end $$;
    create constraint trigger slow_stream after insert on stream_events deferrable
      initially deferred for each row when (new.payload like '%slow%')
      execute function slow_commit();
    create constraint trigger slow_outbox after insert on outbox deferrable
      initially deferred for each row when (new.payload like '%slow%')
      execute function slow_commit();`)
  await owner.close()
  proxy = await startProxy(Number(new URL(database.ownerUrl).port))
  const through = (address: string) => {
    const url = new URL(address)
    url.port = String(proxy.port)
    return url.href
  }
  server = await testServer({
    features: [...features, labFeature],
    database: { ...database, ownerUrl: through(database.ownerUrl) },
    // Alone, with nothing whose return would make it look for what it has missed.
    env: { REDIS_URL: 'redis://127.0.0.1:1' },
  })
  const [one, two] = await strangers(server, 2)
  client = await Client.connect(server.wsUrl, one?.token ?? '')
  watcher = await Client.connect(server.wsUrl, two?.token ?? '')
})
afterAll(async () => {
  await server.stop()
  await proxy.close()
  await database.drop()
})

/** Calls, and breaks the line within the commit. */
async function callAndCut(operation: string, on: string, key?: string): Promise<string> {
  const call = client.call(operation, { on, text: `slow ${on}` }, key === undefined ? {} : { key })
  const code = call.then(
    () => 'done',
    (error) => error.payload.code,
  )
  await Bun.sleep((COMMIT_S * 1_000) / 2)
  proxy.hush()
  await Bun.sleep(COMMIT_S * 1_000)
  proxy.cut()
  return await code
}

const seen = (on: string) =>
  watcher.wait((f) => f.type === 'noted' && f.channel === `lab:${on}`, 15_000)

const notes = (on: string) =>
  watcher.frames.filter((f) => f.channel === `lab:${on}` && f.type === 'noted')

describe('a commit whose answer is lost', () => {
  test.each([
    ['of a transaction', 'lab.note', 'outbox'],
    ['of a transaction with a key', 'lab.note', 'keyed'],
    ['of a batch', 'lab.note_fast', 'batch'],
  ])('%s is said to be uncertain, and its event still comes', async (_name, operation, on) => {
    await watcher.ask('subscribe', { channel: `lab:${on}` })
    const key = on === 'keyed' ? crypto.randomUUID() : undefined
    expect(await callAndCut(operation, on, key)).toBe('unavailable')
    // Nothing else is published that could show that something is missing.
    expect((await seen(on)).payload['text']).toBe(`slow ${on}`)
    if (key === undefined) return
    const again = await client.call(operation, { on, text: `slow ${on}` }, { key })
    expect(again).toMatchObject({ replayed: true })
    await Bun.sleep(400)
    expect(notes(on).length).toBe(1)
  })

  test('control: nobody would see it who does not look for what he has missed', async () => {
    const { hub } = server.core
    const { checkTails } = hub
    hub.checkTails = () => Promise.resolve()
    try {
      await watcher.ask('subscribe', { channel: 'lab:control' })
      expect(await callAndCut('lab.note_fast', 'control')).toBe('unavailable')
      await Bun.sleep(2_200)
      expect(notes('control')).toEqual([])
    } finally {
      hub.checkTails = checkTails
    }
    await seen('control')
  })
})
