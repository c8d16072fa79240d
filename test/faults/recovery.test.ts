import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { features } from '../../src/features.ts'
import { budget, chance } from '../support/budget.ts'
import { Client, type Frame } from '../support/client.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { labFeature } from '../support/lab.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { type Stranger, strangers } from '../support/tokens.ts'
import { until } from '../support/wait.ts'

/**
 * Readers come and go on two instances while others publish and old events are trimmed. Each
 * keeps its position as a client would; what it was given is compared with what the streams held.
 */

const READERS = 25
const RECONNECTS = budget(1_000, 10_000)
const CHANNELS = ['lab:one', 'lab:two', 'lab:three']
/** Events that trimming leaves: fewer than are published while a reader sleeps long. */
const KEPT = 12
const luck = chance('recovery')

let database: TestDatabase
let servers: TestServer[]
let people: Stranger[]

/** What the streams have held, trimmed or not. */
const truth = new Map<string, Map<number, string>>(CHANNELS.map((name) => [name, new Map()]))
/** Everything up to here may be trimmed; raised before it happens. */
const trimmed = new Map<string, number>(CHANNELS.map((name) => [name, 0]))

beforeAll(async () => {
  database = await testDatabase()
  const options = { features: [...features, labFeature], database }
  servers = [await testServer(options), await testServer(options)]
  people = await strangers(servers[0] as TestServer, READERS + 4)
  await until(() => servers.every(({ core }) => core.instances.others().size === 1), 'they met')
})
afterAll(async () => {
  for (const server of servers) await server.stop()
  await database.drop()
})

const connect = (n: number) =>
  Client.connect(luck.pick(servers).wsUrl, (people[n] as Stranger).token)

/** Publishes by outbox and by batch until told to stop. */
async function publish(n: number, stopped: () => boolean): Promise<void> {
  const client = await connect(READERS + n)
  for (let count = 0; !stopped(); count++) {
    const on = luck.pick(CHANNELS).slice('lab:'.length)
    const operation = luck.below(2) === 0 ? 'lab.note' : 'lab.note_fast'
    await client.ask(operation, { on, text: `${n}-${count}` })
    await Bun.sleep(luck.below(6))
  }
  await client.close()
}

/** Writes down what a channel holds, as a witness, and removes all but the newest. */
async function trim(channel: string, keep: number): Promise<void> {
  const [head] = await database.db.sql`
    select id, top::int as top from stream_heads where channel = ${channel}`
  if (head === undefined) return
  const upTo = head.top - keep
  trimmed.set(channel, Math.max(trimmed.get(channel) ?? 0, upTo))
  const rows = await database.db.sql<{ position: number; text: string }[]>`
    delete from stream_events where head = ${head.id} and position <= ${upTo}
    returning position::int as position, payload::json->>'text' as text`
  for (const { position, text } of rows) truth.get(channel)?.set(position, text)
}

interface Position {
  epoch: string
  offset: number
}
interface Answer extends Position {
  recovered: boolean
  publications: { offset: number; payload: { text: string } }[]
}
type Return = (client: Client, channel: string, since: Position) => Promise<Answer>

/** What readers have noticed. */
class Report {
  readonly silentGaps: string[] = []
  readonly lies: string[] = []
  recovered = 0
  refused = 0
  readonly seen: { channel: string; offset: number; text: string }[] = []

  see(channel: string, at: Position, offset: number, text: string): void {
    if (offset !== at.offset + 1) this.silentGaps.push(`${channel}: ${offset} after ${at.offset}`)
    at.offset = Math.max(at.offset, offset)
    this.seen.push({ channel, offset, text })
  }
}

/** The protocol's own way of coming back. */
const recover: Return = (client, channel, since) =>
  client.ask<Answer>('subscribe', { channel, recover: since })

/** One stay of a reader on one channel; returns how to end it with the books kept. */
async function comeBack(client: Client, channel: string, at: Position | undefined, how: Return) {
  if (at === undefined) {
    const { epoch, offset } = await client.ask<Answer>('subscribe', { channel })
    const fresh = { epoch, offset }
    return (report: Report) => follow(report, client, channel, fresh)
  }
  const since = { ...at }
  const answer = await how(client, channel, since)
  const excused = (trimmed.get(channel) ?? 0) > since.offset || answer.epoch !== since.epoch
  return (report: Report) => {
    if (!answer.recovered) {
      report.refused++
      if (!excused) report.lies.push(`${channel}: not recovered from ${since.offset}`)
      Object.assign(at, { epoch: answer.epoch, offset: answer.offset })
    } else {
      report.recovered++
      for (const { offset, payload } of answer.publications) {
        report.see(channel, at, offset, payload.text)
      }
      if (at.offset !== answer.offset) {
        report.silentGaps.push(`${channel}: recovered to ${at.offset}, told ${answer.offset}`)
      }
    }
    return follow(report, client, channel, at)
  }
}

/** The live events of a stay, in the order of arrival; none may come before the answer. */
function follow(report: Report, { frames }: Client, channel: string, at: Position): Position {
  const isAnswer = ({ id, payload }: Frame) => id !== undefined && payload['channel'] === channel
  const answered = frames.findLastIndex(isAnswer)
  for (const [n, frame] of frames.entries()) {
    if (frame.channel !== channel || frame.id !== undefined) continue
    if (n < answered) report.silentGaps.push(`${channel}: ${frame.offset} before the answer`)
    report.see(channel, at, frame.offset as number, String(frame.payload['text']))
  }
  return at
}

/** A reader that comes back again and again. */
async function reader(n: number, times: number, how: Return, report: Report): Promise<void> {
  const positions = new Map<string, Position>()
  for (let time = 0; time <= times; time++) {
    const client = await connect(n)
    const channels = luck.below(2) === 0 ? CHANNELS : CHANNELS.slice(0, 2)
    const stays = await Promise.all(
      channels.map((channel) => comeBack(client, channel, positions.get(channel), how)),
    )
    await Bun.sleep(luck.below(60))
    if (luck.below(2) === 0) client.cut()
    else void client.close()
    for (const [i, end] of stays.entries()) positions.set(channels[i] as string, end(report))
    // Mostly a hiccup; sometimes long enough that what was missed is gone.
    await Bun.sleep(luck.below(8) === 0 ? luck.below(400) : luck.below(40))
  }
}

/** Lets readers loose while others publish and trim. */
async function unrest(times: number, how: Return): Promise<Report> {
  const report = new Report()
  let stopped = false
  const noise = Array.from({ length: 4 }, (_, n) => publish(n, () => stopped))
  const trimming = (async () => {
    while (!stopped) {
      await Bun.sleep(50)
      await trim(luck.pick(CHANNELS), KEPT)
    }
  })()
  const each = Math.ceil(times / READERS)
  try {
    await Promise.all(Array.from({ length: READERS }, (_, n) => reader(n, each, how, report)))
  } finally {
    stopped = true
    await Promise.all([trimming, ...noise])
  }
  for (const channel of CHANNELS) await trim(channel, 0)
  return report
}

const wrong = ({ seen }: Report) =>
  seen.filter(({ channel, offset, text }) => truth.get(channel)?.get(offset) !== text)

describe('recovery', () => {
  test('gives exactly what was missed, or says that it cannot', async () => {
    const report = await unrest(RECONNECTS, recover)
    expect(report.silentGaps).toEqual([])
    expect(report.lies).toEqual([])
    expect(wrong(report)).toEqual([])
    // Both answers were given often enough to mean something.
    expect(report.recovered).toBeGreaterThan(RECONNECTS / 2)
    expect(report.refused).toBeGreaterThan(RECONNECTS / 100)
  })

  test('control: one that never says so, and reads before it joins, has silent gaps', async () => {
    const naive: Return = async (client, channel, since) => {
      const missed = await client.ask<Answer>('history', { channel, since, limit: 100 })
      await client.ask('subscribe', { channel })
      return { ...missed, recovered: true }
    }
    const report = await unrest(100, naive)
    expect(report.silentGaps.length).toBeGreaterThan(0)
  })
})
