import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { features } from '../../src/features.ts'
import { budget, full } from '../support/budget.ts'
import { CallError, Client } from '../support/client.ts'
import type { TestDatabase } from '../support/database.ts'
import { labFeature } from '../support/lab.ts'
import { type Person, person, rest } from '../support/people.ts'
import { type Ending, type OwnPostgres, ownPostgres } from '../support/postgres.ts'
import { FAULTLESS, faultsOf } from '../support/sequence.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { strangers } from '../support/tokens.ts'
import { until } from '../support/wait.ts'

/**
 * PostgreSQL is stopped, crashed and killed under load, and comes back. The load repeats what was
 * refused, with the same id or key, as a client would.
 */

const ENDINGS: readonly Ending[] = ['SIGINT', 'SIGQUIT', 'SIGKILL']
const SERVING_MS_MAX = 10_000

let postgres: OwnPostgres
beforeAll(async () => {
  postgres = await ownPostgres()
})
afterAll(() => postgres.remove())

/** One thing to be done exactly once, however often it is asked for. */
interface Task {
  readonly kind: 'message' | 'note'
  readonly id: string
  ask(): Promise<void>
}

/** What a caller may be told while the database is away. */
const PATIENCE = ['unavailable', 'request_in_progress', 'overloaded']

class Load {
  readonly done: Task[] = []
  /** Answers that nobody should get. */
  readonly wrong = new Set<string>()
  readonly lastDoneMs: number[] = []
  stopped = false

  /** Does one task after another, each until it is acknowledged. */
  async work(next: () => Task): Promise<void> {
    const worker = this.lastDoneMs.push(0) - 1
    while (!this.stopped) {
      const task = next()
      while (!(await this.attempt(task))) await Bun.sleep(20)
      this.done.push(task)
      this.lastDoneMs[worker] = performance.now()
    }
  }

  private async attempt(task: Task): Promise<boolean> {
    try {
      await task.ask()
      return true
    } catch (error) {
      const code = error instanceof CallError ? error.payload.code : String(error)
      if (!PATIENCE.includes(code)) this.wrong.add(`${task.kind}: ${code}`)
      return false
    }
  }

  /** Reads of all kinds, whose only allowed failure is `unavailable`. */
  async read(ask: () => Promise<unknown>): Promise<void> {
    while (!this.stopped) {
      try {
        await ask()
      } catch (error) {
        const code = error instanceof CallError ? error.payload.code : String(error)
        if (code !== 'unavailable') this.wrong.add(`read: ${code}`)
      }
      await Bun.sleep(10)
    }
  }
}

/** A REST call that fails as a socket call does. */
async function post(
  server: TestServer,
  who: Person,
  method: string,
  path: string,
  body?: object,
  key?: string,
): Promise<void> {
  const headers: Record<string, string> = key === undefined ? {} : { 'Idempotency-Key': key }
  const answer = await rest(server, method, path, { token: who.token, body, headers })
  if (answer.status < 300) return
  const { code = '', detail = '' } = answer.body
  const retryable = answer.status === 503 || answer.status === 409
  throw new CallError({ code: `${code}`, message: `${answer.status} ${detail}`, retryable })
}

const id = () => crypto.randomUUID()

/** The tasks of one pair of people, in every way that a write can come. */
function tasks(server: TestServer, client: Client, from: Person, to: Person): (() => Task)[] {
  const message = (of: string) => ({ recipient_id: to.id, message_type: 'text', id: of })
  const note = (of: string) => ({ on: 'restart', text: of })
  const task = (kind: Task['kind'], of: string, ask: () => Promise<unknown>): Task => ({
    kind,
    id: of,
    ask: async () => void (await ask()),
  })
  return [
    (of = id()) => task('message', of, () => client.call('message', message(of))),
    (of = id()) => task('message', of, () => client.call('message', message(of), { key: of })),
    (of = id()) => task('note', of, () => client.call('lab.note', note(of), { key: of })),
    (of = id()) => task('note', of, () => client.call('lab.note_fast', note(of), { key: of })),
    (of = id()) =>
      task('message', of, () => post(server, from, 'POST', '/api/v1/messages', message(of))),
    (of = id()) =>
      task('note', of, () => post(server, from, 'POST', '/api/v1/lab/notes', note(of), of)),
  ]
}

interface Watcher {
  readonly client: Client
  readonly channel: string
  readonly from: number
}

/** A device that only looks on. */
async function watch(server: TestServer, who: Person, channel: string): Promise<Watcher> {
  const client = await Client.connect(server.wsUrl, who.token)
  const { offset } = await client.ask<{ offset: number }>('subscribe', { channel })
  return { client, channel, from: offset }
}

/** Restarts PostgreSQL under load and checks that nothing was lost, doubled or answered wrongly. */
async function ordeal(instances: number, restarts: number): Promise<void> {
  const database = await postgres.database()
  const options = { features: [...features, labFeature], database }
  const servers: TestServer[] = []
  for (let n = 0; n < instances; n++) servers.push(await testServer(options))
  try {
    await until(
      () => servers.every(({ core }) => core.instances.others().size === instances - 1),
      'they met',
    )
    const [first] = servers as [TestServer]
    const last = servers.at(-1) as TestServer
    const [ada, bob] = [await person(first, 'ada'), await person(first, 'bob')]
    const clients = [
      await Client.connect(first.wsUrl, ada.token),
      await Client.connect(last.wsUrl, bob.token),
    ] as const
    const watchers: Watcher[] = []
    for (const server of servers) {
      watchers.push(await watch(server, ada, `user:${ada.id}`))
      watchers.push(await watch(server, bob, `user:${bob.id}`))
      watchers.push(await watch(server, bob, 'lab:restart'))
    }

    const { email, password } = bob
    const bobsPassword = { email, password }

    const load = new Load()
    const all = [...tasks(first, clients[0], ada, bob), ...tasks(last, clients[1], bob, ada)]
    const working = [...all, ...all, ...all].map((next) => load.work(next))
    working.push(
      load.read(() => post(first, ada, 'GET', '/api/v1/auth/me')),
      load.read(() => post(last, bob, 'GET', '/api/v1/conversations')),
      load.read(() => post(last, ada, 'GET', '/api/v1/auth/sessions')),
      load.read(() => post(first, bob, 'POST', '/api/v1/auth/ticket', {})),
      load.read(() => post(last, bob, 'POST', '/api/v1/auth/login', bobsPassword)),
      load.read(() => clients[0].call('history', { channel: 'lab:restart', limit: 5 })),
    )
    for (let n = 0; n < restarts; n++) {
      await Bun.sleep(200)
      await restart(load, ENDINGS[(n + instances) % ENDINGS.length] as Ending)
    }
    await Bun.sleep(300)
    load.stopped = true
    await Promise.all(working)

    expect([...load.wrong]).toEqual([])
    await expectStored(database, load)
    await expectSeen(database, watchers)
    const open = [...clients, ...watchers.map(({ client }) => client)]
    expect(open.filter(({ closed }) => closed !== undefined)).toEqual([])
  } finally {
    for (const server of servers) await server.stop()
  }
}

/** One restart; waits until every worker has had something acknowledged again. */
async function restart(load: Load, how: Ending): Promise<void> {
  const startMs = performance.now()
  await postgres.end(how)
  await postgres.start()
  const backMs = performance.now()
  const serving = () => load.lastDoneMs.every((doneMs) => doneMs > backMs)
  await until(serving, `serving again after ${how}`, SERVING_MS_MAX)
  const [awayMs, servingMs] = [backMs - startMs, performance.now() - backMs]
  if (full)
    console.log(`${how}: away ${awayMs.toFixed()} ms, all served ${servingMs.toFixed()} ms later`)
  expect(awayMs + servingMs).toBeLessThan(SERVING_MS_MAX)
}

const sorted = (values: Iterable<string>) => [...values].toSorted()

/** Everything acknowledged is in the tables and on the streams, once. */
async function expectStored({ db }: TestDatabase, { done }: Load): Promise<void> {
  const ids = (kind: Task['kind']) => sorted(done.filter((t) => t.kind === kind).map((t) => t.id))
  const messages = await db.sql<{ id: string }[]>`select id from messages`
  expect(sorted(messages.map((row) => row.id))).toEqual(ids('message'))
  await until(async () => (await db.sql`select from outbox limit 1`).length === 0, 'all numbered')
  const notes = await db.sql<{ text: string }[]>`
    select e.payload::json->>'text' as text from stream_events e
    join stream_heads h on h.id = e.head where h.channel = 'lab:restart'`
  expect(sorted(notes.map((row) => row.text))).toEqual(ids('note'))
  const onStreams = await db.sql<{ id: string }[]>`
    select m.id from stream_events e join stream_heads h on h.id = e.head
    join messages m on m.conversation = e.ref_a and m.number = e.ref_b
    where h.channel like 'user:%'`
  // On the streams of both.
  expect(sorted(onStreams.map((row) => row.id))).toEqual(
    sorted([...ids('message'), ...ids('message')]),
  )
}

/** Every socket that stayed open has seen every event, once and in order. */
async function expectSeen({ db }: TestDatabase, watchers: readonly Watcher[]): Promise<void> {
  for (const { client, channel, from } of watchers) {
    const [head] = await db.sql`
      select top::int as top from stream_heads where channel = ${channel}`
    const offsets = () =>
      client.frames
        .filter((frame) => frame.channel === channel && frame.id === undefined)
        .map((frame) => frame.offset as number)
    await until(() => Math.max(...offsets()) >= head.top, `${channel} up to ${head.top}`, 5_000)
    expect(faultsOf(offsets(), from)).toEqual(FAULTLESS)
  }
}

describe('the database restarts under load', () => {
  test('with one instance', () => ordeal(1, budget(1, 25)))
  test('with two instances on Postgres notifications', () => ordeal(2, budget(3, 25)))
})

describe('when the database crashes', () => {
  test('no instance takes the other for dead', async () => {
    const database = await postgres.database()
    const servers = [await testServer({ database }), await testServer({ database })] as const
    const [here, there] = servers
    const [bob] = await strangers(there, 1)
    const client = await Client.connect(there.wsUrl, bob?.token ?? '')
    const known = () => here.kernel.presence.connections(bob?.id ?? '')
    const stays = async (ms: number) => {
      for (const endMs = performance.now() + ms; performance.now() < endMs; await Bun.sleep(10)) {
        expect(known()).toBe(1)
      }
    }
    try {
      await until(() => known() === 1, 'bob is known to be there')
      await postgres.end('SIGQUIT')
      // Longer than the silence after which an instance counts as dead.
      if (full) await Bun.sleep(12_000)
      await postgres.start()
      await stays(budget(300, 12_000))
      // What a crash does to an unlogged table, as often as a heartbeat is read.
      const emptying = setInterval(() => void database.db.sql`delete from instances`.execute(), 10)
      await stays(2_200)
      clearInterval(emptying)
      // One that was taken for gone all the same (stopped, swapped out) is asked who is with it.
      here.core.instances.left(there.core.instances.id)
      expect(known()).toBe(0)
      await until(() => known() === 1, 'bob is known to be there again', 4_000)
    } finally {
      await client.close()
      for (const server of servers) await server.stop()
    }
  })
})
