import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { SQL } from 'bun'
import type { StreamEvent } from '../../realtime/hub.ts'
import { features } from '../../src/features.ts'
import { recordArrivals } from '../support/arrivals.ts'
import { budget, type Chance, chance } from '../support/budget.ts'
import { Client } from '../support/client.ts'
import { testDatabase } from '../support/database.ts'
import { labFeature } from '../support/lab.ts'
import { redisProgram, startRedis, type TestRedis } from '../support/redis.ts'
import { FAULTLESS, faultsOf, total } from '../support/sequence.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { strangers } from '../support/tokens.ts'
import { median, until } from '../support/wait.ts'

/**
 * Two instances with four connections each publish to the same channels, by outbox and by batch.
 * Meanwhile a transaction stalls, and somebody sits on the head of a channel.
 */

/** The head of the first is held; a transaction that writes to the second stalls. */
const CHANNELS = ['held', 'stalled', 'free'] as const
const STALL_MS = 3_000
/** For where only the order is looked at, because Redis is away for a second of it. */
const STALL_BRIEFLY_MS = 1_500
const WARM_MS = budget(500, 5_000)
const ROUNDS = budget(1, 10)
const luck = chance('order')

interface Arrival {
  readonly channel: string
  readonly text: string
  readonly offset: number
  readonly atMs: number
}

/** A connection that publishes to and reads all channels. */
class Party {
  readonly arrivals: Arrival[] = []
  readonly from = new Map<string, number>()
  private constructor(
    readonly name: string,
    readonly client: Client,
  ) {}

  static async join(name: string, server: TestServer): Promise<Party> {
    const [who] = await strangers(server, 1)
    const party = new Party(name, await Client.connect(server.wsUrl, who?.token ?? ''))
    party.client.socket.addEventListener('message', ({ data }) => party.take(String(data)))
    for (const on of CHANNELS) {
      const { offset } = await party.client.ask<{ offset: number }>('subscribe', {
        channel: `lab:${on}`,
      })
      party.from.set(`lab:${on}`, offset)
    }
    return party
  }

  private take(text: string): void {
    const { type, channel = '', offset = 0, payload } = JSON.parse(text)
    if (type !== 'noted') return
    this.arrivals.push({ channel, offset, text: payload.text, atMs: performance.now() })
  }

  of(channel: string): Arrival[] {
    return this.arrivals.filter((arrival) => arrival.channel === channel)
  }

  /** Publishes one after another until told to stop; returns what was acknowledged. */
  async publish(stopped: () => boolean, sentAtMs: Map<string, number>, luckOf: Chance) {
    const sent: { on: string; text: string }[] = []
    for (let n = 0; !stopped(); n++) {
      const on = luckOf.pick(CHANNELS)
      const text = `${this.name}-${String(n).padStart(6, '0')}`
      sentAtMs.set(text, performance.now())
      if (luckOf.below(2) === 0) await this.client.ask('lab.note_fast', { on, text })
      else await this.client.ask('lab.note', { on, text, stall_ms: luckOf.below(15) })
      sent.push({ on: `lab:${on}`, text })
      if (luckOf.below(3) === 0) await Bun.sleep(luckOf.below(10))
    }
    return sent
  }
}

/** Holds the head of a channel in a transaction, as a stalled or hostile writer would. */
async function holdHead(ownerUrl: string, channel: string, ms: number): Promise<void> {
  const sql = new SQL({ url: ownerUrl, max: 1 })
  try {
    await sql.begin(async (tx) => {
      await tx`select from stream_heads where channel = ${channel} for update`
      await Bun.sleep(ms)
    })
  } finally {
    await sql.close()
  }
}

/** How long a writer would wait that does not skip what others hold. */
async function waitForHead(ownerUrl: string, channel: string): Promise<number> {
  const sql = new SQL({ url: ownerUrl, max: 1 })
  try {
    await sql`select 1`
    const startMs = performance.now()
    await sql`select from stream_heads where channel = ${channel} for no key update`
    return performance.now() - startMs
  } finally {
    await sql.close()
  }
}

/** Whether a latency is of the same kind as before; generous, because machines are busy. */
const unaffected = (during: number, before: number) => during < 4 * before + 150

interface Outcome {
  readonly parties: readonly Party[]
  /** What each instance's hub was given, in that order. */
  readonly came: readonly (readonly StreamEvent[])[]
  readonly sent: readonly { on: string; text: string }[]
  readonly beforeMs: number
  readonly duringMs: number
  readonly waitedMs: number
}

async function run(redis: TestRedis | undefined, losing: boolean): Promise<Outcome> {
  const database = await testDatabase()
  const env: Record<string, string> = redis === undefined ? {} : { REDIS_URL: redis.url }
  const options = { features: [...features, labFeature], database, env }
  const servers = [await testServer(options), await testServer(options)]
  try {
    // Each must have heard of the other, or it would not tell it anything.
    await until(() => servers.every(({ core }) => core.instances.others().size === 1), 'they met')
    const parties: Party[] = []
    for (const [s, server] of servers.entries()) {
      for (let n = 0; n < 4; n++) parties.push(await Party.join(`${'ab'[s]}${n}`, server))
    }
    const came = servers.map(recordArrivals)
    const [helper] = await strangers(servers[0] as TestServer, 1)
    const staller = await Client.connect(servers[0]?.wsUrl ?? '', helper?.token ?? '')

    const sentAtMs = new Map<string, number>()
    let stopped = false
    const publishing = parties.map((party) => party.publish(() => stopped, sentAtMs, luck))
    const startMs = performance.now()
    await Bun.sleep(WARM_MS)
    const stallMs = performance.now()
    const ms = losing ? STALL_BRIEFLY_MS : STALL_MS
    const stalls = [
      staller.ask('lab.note', { on: 'stalled', text: 'staller', stall_ms: ms }),
      holdHead(database.ownerUrl, 'lab:held', ms),
    ]
    await Bun.sleep(200)
    const waiting = waitForHead(database.ownerUrl, 'lab:held')
    if (losing) {
      await redis?.kill()
      await Bun.sleep(1_000)
      await redis?.start()
    }
    await Promise.all(stalls)
    const endMs = performance.now()
    await Bun.sleep(100)
    stopped = true
    const sent = [...(await Promise.all(publishing)).flat(), { on: 'lab:stalled', text: 'staller' }]
    await allArrived(parties, sent)

    const latencies = (fromMs: number, toMs: number) =>
      parties.flatMap(({ arrivals }) =>
        arrivals
          .filter(({ channel, text }) => channel !== 'lab:held' && text !== 'staller')
          .map(({ text, atMs }) => ({ sentMs: sentAtMs.get(text) as number, atMs }))
          .filter(({ sentMs }) => sentMs > fromMs && sentMs < toMs)
          .map(({ sentMs, atMs }) => atMs - sentMs),
      )
    await Promise.all([staller, ...parties.map(({ client }) => client)].map((c) => c.close()))
    return {
      parties,
      came,
      sent,
      beforeMs: median(latencies(startMs, stallMs - 100)),
      duringMs: median(latencies(stallMs, endMs)),
      waitedMs: await waiting,
    }
  } finally {
    for (const server of servers) await server.stop()
    await database.drop()
  }
}

async function allArrived(parties: readonly Party[], sent: readonly { on: string }[]) {
  const counts = Map.groupBy(sent, ({ on }) => on)
  const missing = () =>
    parties.flatMap((party) =>
      [...counts].map(([on, all]) => all.length - party.of(on).length).filter((n) => n > 0),
    )
  await until(() => missing().length === 0, 'every event is at every client', 8_000).catch(() => {
    throw new Error(`events missing, by client and channel: ${missing().join(', ')}`)
  })
}

/** The promise: everything, once, in the order of offsets, at every client alike. */
function expectOrder({ parties, sent }: Outcome): void {
  for (const on of CHANNELS.map((name) => `lab:${name}`)) {
    const wanted = sent.filter((s) => s.on === on).map(({ text }) => text)
    const [first] = parties
    const order = first?.of(on).map(({ text }) => text) as string[]
    expect(order.toSorted()).toEqual(wanted.toSorted())
    for (const party of parties) {
      const arrivals = party.of(on)
      expect(
        faultsOf(
          arrivals.map(({ offset }) => offset),
          party.from.get(on) ?? -1,
        ),
      ).toEqual(FAULTLESS)
      expect(arrivals.map(({ text }) => text)).toEqual(order)
    }
    // What one connection sent, one after another, is in that order, whichever way it went.
    for (const { name } of parties) {
      const own = order.filter((text) => text.startsWith(`${name}-`))
      expect(own).toEqual(own.toSorted())
    }
  }
}

/** The control: passing events on as they come. */
function naiveFaults({ came }: Outcome): number {
  let sum = 0
  for (const events of came) {
    for (const on of CHANNELS.map((name) => `lab:${name}`)) {
      sum += total(
        faultsOf(
          events.filter((e) => e.channel === on).map((e) => e.offset),
          0,
        ),
      )
    }
  }
  return sum
}

describe.each([
  ['Postgres notifications', false, false],
  ['Redis', true, false],
  ['Redis that goes away and comes back', true, true],
])('two instances on %s', (_name, onRedis, losing) => {
  let redis: TestRedis | undefined
  beforeAll(async () => {
    if (onRedis && redisProgram !== null) redis = await startRedis()
  })
  afterAll(() => redis?.remove())

  // Skipped where the machine has no redis-server.
  test.skipIf(onRedis && redisProgram === null)(
    'lose, double and swap nothing while transactions stall',
    async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const outcome = await run(redis, losing)
        expectOrder(outcome)
        expect(naiveFaults(outcome)).toBeGreaterThan(0)
        if (losing) continue
        const { beforeMs, duringMs, waitedMs } = outcome
        expect(unaffected(duringMs, beforeMs), `${duringMs} ms after ${beforeMs} ms`).toBe(true)
        expect(unaffected(waitedMs, beforeMs)).toBe(false)
      }
    },
  )
})
