import { describe, expect, test } from 'bun:test'
import { testClock } from '../../src/base/clock.ts'
import { Loop, type LoopParts } from '../../src/kernel/loop.ts'

/**
 * Work that runs when told or every so often: never twice at once, and whatever was asked for
 * while it ran is done afterwards.
 */

const RETRY_MS = 50

type Looping = Pick<Loop, 'kick' | 'kickIn' | 'idle' | 'stop'>

/** A loop whose rounds end when the test says so, and what was seen of them. */
function lab(make: (parts: LoopParts) => Looping = (parts) => new Loop(parts)) {
  const clock = testClock()
  const rounds: PromiseWithResolvers<number>[] = []
  const seen = { begunAt: [] as number[], atOnce: 0, told: [] as string[], stopped: false }
  const loop = make({
    clock,
    retryMs: RETRY_MS,
    async round() {
      const ends = Promise.withResolvers<number>()
      seen.begunAt.push(clock.monotonicMs())
      seen.atOnce = Math.max(seen.atOnce, rounds.push(ends))
      return await ends.promise
    },
    failed: (_error, first) => void seen.told.push(first ? 'failed' : 'failed again'),
    recovered: () => void seen.told.push('recovered'),
  })
  const oldest = () => {
    const round = rounds.shift()
    if (round === undefined) throw new Error('no round runs that could end')
    return round
  }
  const does: Record<string, (ms: number) => unknown> = {
    kick: () => loop.kick(),
    kickIn: (ms) => loop.kickIn(ms),
    /** The round that runs ends, and wants the next one in so many ms. */
    ends: (ms) => oldest().resolve(ms),
    fails: () => oldest().reject(new Error('as you wished')),
    stop: () => void loop.stop().then(() => (seen.stopped = true)),
    wait: (ms) => clock.advanceAsync(ms),
  }
  return {
    clock,
    loop,
    seen,
    /** Does one step after the other: `kick, wait 10, ends 100`. */
    async play(script: string) {
      for (const step of script.split(', ')) {
        const [verb, ms] = step.split(' ') as [string, string?]
        await does[verb]?.(Number(ms))
        await clock.advanceAsync(0)
      }
      return seen
    },
  }
}

type Case = [what: string, script: string, begunAt: number[]]

describe('a round', () => {
  test.each<Case>([
    ['does not begin by itself', 'wait 1000', []],
    ['begins at once when told', 'wait 5, kick', [5]],
    ['is followed by one for all kicks during it', 'kick, kick, kick, wait 9, ends 99', [0, 9]],
    ['that nobody asked for more of is the only one', 'kick, ends Infinity, wait 99999', [0]],
    ['that waits to be told begins when told', 'kick, ends Infinity, wait 9, kick', [0, 9]],
    ['with more to do is followed at once', 'kick, wait 7, ends 0, ends 0', [0, 7, 7]],
    ['is not followed before the time it gave', 'kick, wait 30, ends 100, wait 99', [0]],
    ['is followed that long after its end', 'kick, wait 30, ends 100, wait 100', [0, 130]],
    ['may be sooner, when told', 'kick, ends 100, wait 60, kick', [0, 60]],
    ['and then not also in time', 'kick, ends 100, wait 60, kick, wait 60, ends 99', [0, 60]],
    ['may be put off', 'kickIn 100, wait 99', []],
    ['that was put off begins in its time', 'kickIn 100, wait 100', [100]],
    ['that was put off twice begins by the later', 'kickIn 100, kickIn 200, wait 199', []],
    ['that was put off may be sooner', 'kickIn 100, wait 9, kick, ends 1000, wait 999', [9]],
  ])('%s', async (_what, script, begunAt) => {
    const seen = await lab().play(script)
    expect(seen.begunAt).toEqual(begunAt)
    expect(seen.atOnce).toBe(begunAt.length === 0 ? 0 : 1)
  })

  test('with more to do is followed without a timer: a backlog knows no pauses', async () => {
    const { play, seen } = lab()
    await play('kick')
    const ended = play('ends 0')
    for (let turn = 0; turn < 12; turn++) await Promise.resolve()
    expect(seen.begunAt).toEqual([0, 0])
    await ended
  })

  test('that was asked for in whichever turn another one ended takes place', async () => {
    for (let turns = 0; turns < 12; turns++) {
      const { loop, play, seen } = lab()
      await play('kick')
      const ended = play('ends Infinity')
      for (let turn = 0; turn < turns; turn++) await Promise.resolve()
      loop.kick()
      await ended
      expect(seen).toMatchObject({ begunAt: [0, 0], atOnce: 1 })
    }
  })

  test('that was asked for has ended when the loop is idle', async () => {
    const { loop, play } = lab()
    await play('kick, kick')
    let idle = false
    void loop.idle().then(() => (idle = true))
    await play('ends 100')
    expect(idle).toBe(false)
    await play('ends 100')
    expect(idle).toBe(true)
  })
})

describe('a round that fails', () => {
  test.each<Case>([
    ['is not tried again at once', 'kick, wait 9, fails, wait 49', [0]],
    ['is tried again after the wait', 'kick, wait 9, fails, wait 50', [0, 59]],
    ['is not tried sooner for kicks', 'kick, kick, fails, kick, wait 49, kick', [0]],
    ['and those are that one try', 'kick, kick, fails, kick, wait 50, ends 999, wait 998', [0, 50]],
    ['is tried until it goes well', 'kick, fails, wait 50, fails, wait 50, ends 999', [0, 50, 100]],
  ])('%s', async (_what, script, begunAt) => {
    expect(await lab().play(script)).toMatchObject({ begunAt, atOnce: 1 })
  })

  test('is told as the first of its streak or not, and the end of a streak once', async () => {
    const well = 'ends 10, wait 10'
    const badly = 'fails, wait 50'
    const { told } = await lab().play(`kick, ${well}, ${badly}, ${badly}, ${well}, ${well}, fails`)
    expect(told).toEqual(['failed', 'failed again', 'recovered', 'failed'])
  })
})

describe('stopping', () => {
  const afterwards = 'wait 1000, kick, kickIn 10, wait 1000'

  test.each<Case>([
    ['before anything ran', 'stop', []],
    ['between two rounds', 'kick, ends 100, stop', [0]],
    ['while the first is put off', 'kickIn 100, stop', []],
    ['in the wait after a failure', 'kick, fails, stop', [0]],
    ['after a round that had more to do', 'kick, stop, ends 0', [0]],
    ['after a round with kicks during it', 'kick, kick, stop, kick, ends 100', [0]],
    ['after a round that fails', 'kick, stop, fails', [0]],
  ])('%s takes no time, and nothing runs after', async (_what, script, begunAt) => {
    const { clock, play } = lab()
    expect(await play(script)).toMatchObject({ stopped: true })
    expect(clock.pendingTimers()).toBe(0)
    expect(await play(afterwards)).toMatchObject({ begunAt })
  })

  test('waits for the round that runs', async () => {
    const { play } = lab()
    expect(await play('kick, stop, wait 99999')).toMatchObject({ stopped: false })
    expect(await play('ends 100')).toMatchObject({ stopped: true })
  })

  test('is told to a round that waits for something', async () => {
    const clock = testClock()
    const loop = new Loop({
      clock,
      round: (stopping) => clock.sleep(99_999, stopping).then(() => 0),
      failed: () => undefined,
      retryMs: RETRY_MS,
    })
    loop.kick()
    await loop.stop()
    expect(clock.pendingTimers()).toBe(0)
  })
})

/** The control: what one writes first, a timer and a function. */
function naive({ clock, round, failed, retryMs }: LoopParts): Looping {
  const { signal } = new AbortController()
  const kickIn = (ms: number) => void clock.setTimeout(kick, ms)
  const kick = () => {
    round(signal).then(kickIn, (error: unknown) => {
      failed(error, true)
      kickIn(retryMs)
    })
  }
  return { kick, kickIn, idle: () => Promise.resolve(), stop: () => Promise.resolve() }
}

test('control: a loop without a guard overlaps, hammers, and runs on', async () => {
  expect(await lab(naive).play('kick, kick')).toMatchObject({ atOnce: 2 })
  expect(await lab(naive).play('kick, fails, kick, fails, kick')).toMatchObject({
    begunAt: [0, 0, 0],
  })
  expect(await lab(naive).play('kick, stop, ends 100, wait 100')).toMatchObject({
    begunAt: [0, 100],
  })
})
