import { describe, expect, test } from 'bun:test'
import { nativeRenderer, publicationsJson } from '../../realtime/dialects/native.ts'
import { createHub, type Hub, type StreamEvent, type Subscribed } from '../../realtime/hub.ts'
import type { Recovery, Since } from '../../realtime/streams/recovery.ts'
import { testClock } from '../../src/base/clock.ts'
import { createRegistry } from '../../src/kernel/feature.ts'
import { budget, type Chance, chance, seededChance } from '../support/budget.ts'
import { labFeature } from '../support/lab.ts'
import { quietLog } from '../support/log.ts'

/**
 * The hub alone, in a world where everything that may happen does: events come late, twice, in
 * any order or never; reads of the database see it as it was at any moment of their time; rows
 * are trimmed; readers come and go in between. Every world is replayed from its seed.
 */

const STREAM = 'lab:model'
/** Keeps its newest event only. */
const CACHE = 'board:model'
const EPOCH = 'life-1'
const WORLDS = budget(500, 50_000)
const STEPS = 120

/** One reader, as a client would keep its books. */
interface Reader {
  /** Where it stands; undefined until its subscription is answered. */
  at: number | undefined
  readonly since: Since | undefined
  problem: string | undefined
  joined: boolean
  gone: boolean
}

class World {
  readonly clock = testClock()
  /** Events that are committed; offset n is at n - 1. */
  top = 0
  /** Everything up to here is trimmed. */
  trimmed = 0
  readonly flying: StreamEvent[] = []
  readonly reads: (() => void)[] = []
  readonly readers: Reader[] = []
  readonly answered: Reader[] = []
  recovered = 0
  /** The hub itself has come too late for what was trimmed: then it may refuse anybody. */
  harsh = false
  readonly hub: Hub

  constructor(
    readonly luck: Chance,
    readonly channel: string,
    make: (parts: Parameters<typeof createHub>[0]) => Hub,
  ) {
    this.hub = make({
      recovery: this.recovery(),
      registry: createRegistry([labFeature]),
      clock: this.clock,
      log: quietLog,
      render: nativeRenderer,
      publish: (_topic, frame) => {
        const { offset } = JSON.parse(frame) as { offset: number }
        for (const reader of this.readers) if (reader.joined) this.see(reader, offset)
      },
    })
  }

  /** The rules of the protocol, for every event that reaches a reader. */
  private see(reader: Reader, offset: number): void {
    if (reader.gone) return
    const { at } = reader
    const next = this.channel === STREAM ? offset === (at ?? 0) + 1 : offset > (at ?? 0)
    if (at === undefined) reader.problem ??= `event ${offset} before the answer`
    else if (!next) reader.problem ??= `event ${offset} after ${at}`
    reader.at = offset
  }

  private recovery(): Recovery {
    const missing = () => Promise.reject(new Error('not in this world'))
    return {
      at: missing,
      range: () =>
        this.later(() => {
          const { top } = this
          return { id: 1, epoch: EPOCH, top, events: top === 0 ? [] : [this.event(top)] }
        }),
      read: (_channel, since) =>
        this.later(() => {
          const events = since === undefined ? undefined : this.missedSince(since)
          return { epoch: EPOCH, top: this.top, missed: events && joined(events) }
        }),
      after: (_channel, since) =>
        this.later(() => {
          const missed = this.missedSince(since)
          if (missed === undefined) this.harsh = true
          return { epoch: EPOCH, top: this.top, missed }
        }),
      tops: () => this.later(() => new Map([[this.channel, this.top]])),
    }
  }

  /** Answers when the world says so, with what held when it was asked or when it answers. */
  private later<T>(answer: () => T): Promise<T> {
    const early = this.luck.below(2) === 0 ? answer() : undefined
    return new Promise((resolve) => this.reads.push(() => resolve(early ?? answer())))
  }

  private missedSince({ offset }: Since): StreamEvent[] | undefined {
    const kept = this.channel === STREAM ? this.trimmed : this.top - 1
    if (offset < kept) return undefined
    const length = Math.max(0, this.top - offset)
    return Array.from({ length }, (_, n) => this.event(offset + 1 + n))
  }

  private event(offset: number): StreamEvent {
    return { channel: this.channel, offset, type: 'noted', payload: '{}', skip: undefined }
  }

  commit(losing: boolean): void {
    const event = this.event(++this.top)
    if (losing && this.luck.below(8) === 0) return
    this.flying.push(event)
    if (this.luck.below(10) === 0) this.flying.push(event)
  }

  land(): void {
    const at = this.luck.below(Math.min(this.flying.length, 6))
    this.hub.receive(this.flying.splice(at, 1))
  }

  subscribe(): void {
    const known = this.readers.filter(({ gone, at }) => gone && at !== undefined)
    // The newest event may have been seen on another instance.
    const seen = known.length === 0 ? undefined : this.luck.pick(known).at
    const at = this.luck.below(4) === 0 ? this.top : seen
    const since = at === undefined ? undefined : { epoch: EPOCH, offset: at }
    const reader: Reader = { at: undefined, since, problem: undefined, joined: false, gone: false }
    this.readers.push(reader)
    const socket = {
      id: String(this.readers.length),
      send: () => undefined,
      join: () => void (reader.joined = true),
      leave: () => void (reader.joined = false),
      insufficient: () => this.refuse(reader),
    }
    Object.assign(reader, { socket })
    void this.hub.attach(socket, this.channel, since, (answer) => this.take(reader, answer))
  }

  private refuse(reader: Reader): void {
    if (this.channel === CACHE) reader.problem ??= 'refused, though the newest is enough'
    this.leave(reader)
  }

  private take(reader: Reader, answer: Subscribed): void {
    if (this.channel === STREAM) this.checkAnswer(reader, answer)
    else if (answer.offset > 0 && !answer.publications.includes(`"offset":${answer.offset},`)) {
      reader.problem ??= `told ${answer.offset}, given ${answer.publications}`
    }
    reader.at = answer.offset
    this.answered.push(reader)
  }

  private checkAnswer(reader: Reader, { recovered, offset, publications }: Subscribed): void {
    if (recovered) {
      this.recovered++
      let next = (reader.since?.offset ?? -1) + 1
      for (const { offset: given } of JSON.parse(`[${publications}]`) as { offset: number }[]) {
        if (given !== next++) reader.problem ??= `recovered ${given} instead of ${next - 1}`
      }
      if (offset !== next - 1) reader.problem ??= `recovered to ${next - 1}, told ${offset}`
    } else if (!this.harsh && (reader.since?.offset ?? -1) >= this.trimmed) {
      reader.problem ??= `not recovered from ${reader.since?.offset}, though nothing was trimmed`
    }
  }

  leave(reader: Reader): void {
    if (reader.gone) return
    reader.gone = true
    reader.joined = false
    this.hub.detach((reader as unknown as { socket: never }).socket, this.channel)
  }

  async step(losing: boolean): Promise<void> {
    const { luck } = this
    const what = luck.below(100)
    if (what < 30) this.commit(losing)
    else if (what < 55 && this.flying.length > 0) this.land()
    else if (what < 65) this.subscribe()
    else if (what < 85 && this.reads.length > 0) this.answerRead()
    else if (what < 90 && this.answered.length > 0) this.leave(luck.pick(this.answered))
    else if (what < 92) this.trimmed = Math.max(this.trimmed, this.top - luck.below(20))
    else if (what < 94) void this.hub.checkTails()
    else await this.clock.advanceAsync(luck.below(80))
    for (let turn = luck.below(4); turn > 0; turn--) await Promise.resolve()
  }

  private answerRead(): void {
    const [read] = this.reads.splice(this.luck.below(this.reads.length), 1)
    read?.()
  }

  /** Lets everything land and every read be answered, until nothing moves any more. */
  async settle(): Promise<void> {
    while (this.flying.length > 0) this.land()
    for (let round = 0; round < 10; round++) {
      void this.hub.checkTails()
      for (let turn = 0; turn < 5; turn++) {
        while (this.reads.length > 0) this.answerRead()
        await this.clock.advanceAsync(60)
      }
    }
  }

  problems(): string[] {
    const found = this.readers.flatMap(({ problem }) => problem ?? [])
    for (const { gone, at } of this.readers) {
      if (!gone && at !== this.top) found.push(`a reader ended at ${at} of ${this.top}`)
    }
    return found
  }
}

function joined(events: readonly StreamEvent[]) {
  return { count: events.length, text: publicationsJson(events) }
}

/** The naive hub: joins, answers with what the database had, passes events on as they come. */
function naiveHub({ recovery, publish }: Parameters<typeof createHub>[0]): Hub {
  return {
    receive: (events) => events.forEach((e) => publish(e.channel, `{"offset":${e.offset}}`)),
    async attach(to, channel, since, answered) {
      to.join(channel)
      const { top, missed } = await recovery.read(channel, since)
      const publications = missed?.text ?? ''
      answered({ epoch: EPOCH, offset: top, recovered: true, publications })
    },
    detach: () => undefined,
    checkTails: () => Promise.resolve(),
    heldBack: () => 0,
    channels: () => 0,
  }
}

async function live(
  seed: number,
  channel: string,
  make: typeof createHub,
  losing: boolean,
): Promise<World> {
  const world = new World(seededChance(seed), channel, make)
  for (let n = 0; n < STEPS; n++) await world.step(losing)
  await world.settle()
  return world
}

describe('the hub', () => {
  const luck = chance('hub model')
  const seeds = Array.from({ length: WORLDS }, () => luck.below(2 ** 31))

  test.each([
    ['late, doubled and swapped', false],
    ['also lost', true],
  ])('passes on every event once and in order when they come %s', async (_name, losing) => {
    let recovered = 0
    for (const seed of seeds) {
      const world = await live(seed, STREAM, createHub, losing)
      expect(world.problems(), `world ${seed}`).toEqual([])
      recovered += world.recovered
    }
    expect(recovered).toBeGreaterThan(WORLDS)
  })

  test('passes on the newest of a cache channel, never an older one after it', async () => {
    for (const seed of seeds) {
      const world = await live(seed, CACHE, createHub, true)
      expect(world.problems(), `world ${seed}`).toEqual([])
    }
  })

  test('keeps nothing of readers that have left', async () => {
    for (const seed of seeds.slice(0, WORLDS / 4)) {
      const world = await live(seed, STREAM, createHub, true)
      for (const reader of world.readers) world.leave(reader)
      expect(world.hub.channels(), `world ${seed}`).toBe(0)
    }
  })

  test('control: a naive one fails in such worlds', async () => {
    const problems = await Promise.all(
      seeds.slice(0, 50).map((s) => live(s, STREAM, naiveHub, true)),
    )
    expect(problems.filter((world) => world.problems().length > 0).length).toBeGreaterThan(40)
  })
})
