import { describe, expect, test } from 'bun:test'
import { systemClock, testClock } from '../../src/base/clock.ts'

describe('test clock', () => {
  test('fires timers in order of time, then of creation, and only when due', () => {
    const clock = testClock(1_000)
    const fired: string[] = []
    clock.setTimeout(() => fired.push(`c@${clock.now()}`), 30)
    clock.setTimeout(() => fired.push(`a@${clock.now()}`), 10)
    clock.setTimeout(() => fired.push(`b@${clock.now()}`), 10)
    clock.setTimeout(() => fired.push('cancelled'), 20).cancel()
    clock.setTimeout(() => fired.push('later'), 31)
    clock.advance(30)
    expect(fired).toEqual(['a@1010', 'b@1010', 'c@1030'])
    expect(clock.pendingTimers()).toBe(1)
  })

  test('a timer set by a timer fires in the same advance, at its own time', () => {
    const clock = testClock(0)
    const fired: number[] = []
    clock.setTimeout(() => clock.setTimeout(() => fired.push(clock.now()), 5), 10)
    clock.advance(15)
    expect(fired).toEqual([15])
  })

  test('an interval repeats until it cancels itself', () => {
    const clock = testClock(0)
    const fired: number[] = []
    const interval = clock.setInterval(() => {
      fired.push(clock.now())
      if (fired.length === 3) interval.cancel()
    }, 10)
    clock.advance(100)
    expect(fired).toEqual([10, 20, 30])
  })

  test('jumping the wall clock moves neither timers nor durations', () => {
    const clock = testClock(3_600_000)
    let fired = false
    clock.setTimeout(() => (fired = true), 10)
    clock.jump(-3_600_000)
    expect([clock.now(), clock.date().getTime(), clock.monotonicMs()]).toEqual([0, 0, 0])
    clock.advance(9)
    expect(fired).toBe(false)
    clock.advance(1)
    expect(fired).toBe(true)
  })

  test('advanceAsync lets a loop of sleeps run', async () => {
    const clock = testClock(0)
    const woken: number[] = []
    const loop = (async () => {
      while (woken.length < 4) {
        await clock.sleep(10)
        woken.push(clock.now())
      }
    })()
    await clock.advanceAsync(40)
    await loop
    expect(woken).toEqual([10, 20, 30, 40])
  })

  test('an aborted sleep rejects with the reason and leaves no timer', async () => {
    const clock = testClock(0)
    const stop = new AbortController()
    const sleeping = clock.sleep(1_000, stop.signal)
    stop.abort(new Error('stopping'))
    expect(sleeping).rejects.toThrow('stopping')
    expect(clock.sleep(1, stop.signal)).rejects.toThrow('stopping')
    expect(clock.pendingTimers()).toBe(0)
  })
})

describe('system clock', () => {
  test('a delay beyond 32 bits does not fire at once', async () => {
    let fired = false
    const timer = systemClock.setTimeout(() => (fired = true), 2 ** 32)
    await systemClock.sleep(20)
    timer.cancel()
    expect(fired).toBe(false)
  })

  test('timers do not keep the process alive', async () => {
    const clock = new URL('../../src/base/clock.ts', import.meta.url).pathname
    const program = `import { systemClock as c } from ${JSON.stringify(clock)}
      c.setTimeout(() => {}, 60_000); c.setInterval(() => {}, 60_000)`
    const child = Bun.spawn([process.execPath, '-e', program])
    const timer = setTimeout(() => child.kill(), 4_000)
    expect(await child.exited).toBe(0)
    clearTimeout(timer)
  })
})
