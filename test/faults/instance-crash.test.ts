import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { features } from '../../src/features.ts'
import { recordArrivals } from '../support/arrivals.ts'
import { budget, chance, full } from '../support/budget.ts'
import { Client } from '../support/client.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { labFeature } from '../support/lab.ts'
import { person, writes } from '../support/people.ts'
import { FAULTLESS, faultsOf, total } from '../support/sequence.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { strangers } from '../support/tokens.ts'
import { until } from '../support/wait.ts'

/**
 * One of two instances is a process that is killed, or stands still, in the middle of its work.
 * What it has acknowledged reaches the readers of the other.
 */

const KILLS = budget(3, 50)
const WRITERS = 6
const luck = chance('instance crash')

const folder = mkdtempSync(join(tmpdir(), 'rialto-crash-'))
let database: TestDatabase
let here: TestServer
let reader: Client
let tokens: string[]

beforeAll(async () => {
  database = await testDatabase()
  here = await testServer({ features: [...features, labFeature], database })
  tokens = (await strangers(here, WRITERS + 1)).map(({ token }) => token)
  reader = await Client.connect(here.wsUrl, tokens.pop() ?? '')
  await reader.ask('subscribe', { channel: 'lab:crash' })
})
afterAll(async () => {
  await reader.close()
  await here.stop()
  await database.drop()
  rmSync(folder, { recursive: true, force: true })
})

interface There {
  readonly child: Bun.Subprocess
  readonly wsUrl: string
}

async function startThere(): Promise<There> {
  const script = join(import.meta.dir, '..', 'support', 'server-process.ts')
  const child = Bun.spawn([process.execPath, '--no-env-file', script, database.ownerUrl], {
    // What a killed process leaves behind.
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const bytes of child.stdout) {
    const { port } = JSON.parse(new TextDecoder().decode(bytes))
    return { child, wsUrl: `ws://127.0.0.1:${port}/ws` }
  }
  throw new Error('the server said nothing')
}

/** Writes at the other instance until it is gone; keeps what was acknowledged. */
async function write(wsUrl: string, token: string, acknowledged: string[]): Promise<void> {
  const client = await Client.connect(wsUrl, token)
  while (client.closed === undefined) {
    const note = { on: 'crash', text: crypto.randomUUID() }
    const operation = luck.below(2) === 0 ? 'lab.note' : 'lab.note_fast'
    const done = await client.ask(operation, note).then(
      () => true,
      () => false,
    )
    if (done) acknowledged.push(note.text)
  }
}

/** What takes long is part of the full run only. */
const noTest = (_name: string, _fn: () => Promise<void>) => undefined

const seen = () => reader.events('noted').map(({ payload }) => payload['text'] as string)

describe('an instance', () => {
  test('that is killed loses nothing that it has acknowledged', async () => {
    const acknowledged: string[] = []
    const came = recordArrivals(here)
    for (let n = 0; n < KILLS; n++) {
      const there = await startThere()
      const writing = tokens.map((token) => write(there.wsUrl, token, acknowledged))
      await Bun.sleep(100 + luck.below(300))
      there.child.kill('SIGKILL')
      await Promise.all(writing)
    }
    expect(acknowledged.length).toBeGreaterThan(KILLS * WRITERS)
    const missing = () => {
      const arrived = new Set(seen())
      return acknowledged.filter((text) => !arrived.has(text)).length
    }
    await until(() => missing() === 0, 'everything has arrived', 5_000)
    const offsets = reader.events('noted').map(({ offset }) => offset as number)
    expect(faultsOf(offsets, 0)).toEqual(FAULTLESS)
    expect(new Set(seen()).size).toBe(seen().length)
    // The control: who only passes on what the other says, when it says it.
    const heard = new Set(came.map(({ payload }) => JSON.parse(payload).text as string))
    const unheard = acknowledged.filter((text) => !heard.has(text)).length
    const disorder = total(
      faultsOf(
        came.map(({ offset }) => offset),
        0,
      ),
    )
    // A few kills may by luck fall between a commit and its telling; fifty do not.
    if (full) expect(unheard + disorder).toBeGreaterThan(0)
  })

  // It takes ten seconds to be sure, and five more so that nobody flickers.
  const inFull = full ? test : noTest
  inFull('that is killed takes its users offline', async () => {
    const [ada, bob] = [await person(here, 'ada'), await person(here, 'bob')]
    const watcher = await Client.connect(here.wsUrl, ada.token)
    await writes(here, bob, ada)
    const there = await startThere()
    await Client.connect(there.wsUrl, bob.token)
    await watcher.wait(({ type }) => type === 'presence_update')
    there.child.kill('SIGKILL')
    const offline = await watcher.wait(
      ({ type, payload }) => type === 'presence_update' && payload['status'] === 'offline',
      20_000,
    )
    expect(offline.payload['user_id']).toBe(bob.id)
    expect(here.kernel.presence.connections(bob.id)).toBe(0)
    await watcher.close()
  })

  test('that stands still holds up nobody, and goes on afterwards', async () => {
    const there = await startThere()
    const acknowledged: string[] = []
    const writing = tokens.map((token) => write(there.wsUrl, token, acknowledged))
    const own = await Client.connect(here.wsUrl, tokens[0] ?? '')
    await Bun.sleep(200)
    there.child.kill('SIGSTOP')
    const before = acknowledged.length
    // Writes to a channel of their own; the other one's may be locked by what stands still.
    for (let n = 0; n < 50; n++) {
      const startMs = performance.now()
      await own.ask('lab.note_fast', { on: 'meanwhile', text: `${n}` })
      expect(performance.now() - startMs).toBeLessThan(1_000)
    }
    there.child.kill('SIGCONT')
    await until(() => acknowledged.length > before + WRITERS, 'it goes on')
    there.child.kill('SIGKILL')
    await Promise.all(writing)
    await own.close()
    await until(() => acknowledged.every((text) => seen().includes(text)), 'all arrived', 5_000)
    expect(
      faultsOf(
        reader.events('noted').map(({ offset }) => offset as number),
        0,
      ),
    ).toEqual(FAULTLESS)
  })
})
