import { expect, test } from 'bun:test'
import { testClock } from '../../src/base/clock.ts'
import { type Held, KeyedMutex } from '../../src/kernel/keyed-mutex.ts'

/** Takes turns under one name and writes down in which order they came, or did not. */
function queue(waitMsMax = 5_000) {
  const clock = testClock()
  const mutex = new KeyedMutex(clock)
  const came: string[] = []
  const held: Held[] = []
  const take = (who: string, name = 'one') =>
    mutex.acquire(name, waitMsMax).then((turn) => {
      came.push(turn === undefined ? `${who} gave up` : `${who} ${turn.leftMs}`)
      if (turn !== undefined) held.push(turn)
    })
  const release = async () => {
    held.shift()?.release()
    await clock.advanceAsync(0)
  }
  return { clock, came, take, release }
}

test('turns come one at a time, in the order of asking, with the time that is left', async () => {
  const { clock, came, take, release } = queue()
  void take('a')
  void take('b')
  void take('c')
  await clock.advanceAsync(1_000)
  expect(came).toEqual(['a 5000'])
  await release()
  await clock.advanceAsync(1_500)
  await release()
  expect(came).toEqual(['a 5000', 'b 4000', 'c 2500'])
  await release()
  await take('d')
  expect(came.at(-1)).toBe('d 5000')
})

test('whoever has waited too long gives up and holds up nobody', async () => {
  const { clock, came, take, release } = queue()
  void take('a')
  void take('b')
  await clock.advanceAsync(3_000)
  void take('c')
  await clock.advanceAsync(2_000)
  expect(came).toEqual(['a 5000', 'b gave up'])
  await release()
  expect(came.at(-1)).toBe('c 3000')
})

test('names have nothing to do with each other', async () => {
  const { came, take } = queue()
  await take('a')
  await take('b', 'two')
  expect(came).toEqual(['a 5000', 'b 5000'])
})
