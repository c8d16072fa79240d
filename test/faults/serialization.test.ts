import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { SQL } from 'bun'
import { features } from '../../src/features.ts'
import { budget } from '../support/budget.ts'
import { Client } from '../support/client.ts'
import { contend, type Contention } from '../support/contention.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { labFeature } from '../support/lab.ts'
import { type Person, person } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

/**
 * Every sixth insert fails as a serialisation failure or a deadlock would, in transactions, in
 * batches and in the stream writer. Nobody outside may notice.
 */

const INJECTED = budget(150, 1_000)

let database: TestDatabase
let server: TestServer
let owner: SQL
let contention: Contention
let ada: Person
let bob: Person

beforeAll(async () => {
  database = await testDatabase()
  owner = new SQL({ url: database.ownerUrl, max: 1 })
  server = await testServer({ features: [...features, labFeature], database })
  ada = await person(server, 'ada')
  bob = await person(server, 'bob')
  contention = await contend(owner, ['outbox', 'stream_events', 'messages'])
})
afterAll(async () => {
  await server.stop()
  await owner.close()
  await database.drop()
})

const injected = () => contention.injected()

describe('serialisation failures', () => {
  test('never reach a caller, and what is retried counts once', async () => {
    const clients = await Promise.all(
      [ada, bob, ada, bob].map(({ token }) => Client.connect(server.wsUrl, token)),
    )
    const watcher = await Client.connect(server.wsUrl, ada.token)
    await watcher.ask('subscribe', { channel: 'lab:contended' })
    const surfaced: string[] = []
    let [notes, messages] = [0, 0]
    const work = async (client: Client, to: Person) => {
      while ((await injected()) < INJECTED) {
        const id = crypto.randomUUID()
        const note = { on: 'contended', text: id }
        const message = { recipient_id: to.id, message_type: 'text', id }
        const calls = [
          client.call('lab.note', note),
          client.call('lab.note', note, { key: id }),
          client.call('lab.note_fast', note),
          client.call('lab.note_fast', note, { key: id }),
          client.call('message', message),
          client.call('message', { ...message, id: crypto.randomUUID() }, { key: id }),
        ]
        for (const result of await Promise.allSettled(calls)) {
          if (result.status === 'rejected') surfaced.push(String(result.reason))
        }
        notes += 4
        messages += 2
      }
    }
    await Promise.all(clients.map((client, n) => work(client, n % 2 === 0 ? bob : ada)))

    expect(surfaced).toEqual([])
    await until(() => watcher.events('noted').length >= notes, 'every note has arrived')
    const { sql } = database.db
    await until(async () => (await sql`select from outbox`).length === 0, 'all is numbered')
    const [stored] = await sql`
      select (select count(*)::int from messages) as messages,
        (select top::int from stream_heads where channel = 'lab:contended') as notes`
    expect(stored).toEqual({ messages, notes })
    await Promise.all([...clients, watcher].map((client) => client.close()))
  })

  test('control: who does not run a transaction again has them all', async () => {
    const before = await injected()
    let failed = 0
    for (let n = 0; n < 24; n++) {
      await database.db.sql
        .begin((tx) => tx`insert into outbox (channel, kind) values ('lab:control', 31000)`)
        .catch(() => failed++)
    }
    // The writer meets some of them as well.
    expect(failed).toBeGreaterThan(0)
    expect(await injected()).toBeGreaterThan(before)
  })
})
