import { describe, expect, test } from 'bun:test'
import { Failure } from '../../src/base/errors.ts'
import { Gather, type Gathering } from '../../src/kernel/gather.ts'
import { gate } from './callers.ts'

type Item = string
type Submit = (item: Item) => Promise<string>

/** A gatherer that writes down how many went together, and what was split. */
function gatherer(how: Partial<Gathering<Item, string>> = {}) {
  const splits: [size: number, error: unknown][] = []
  const sizes: number[] = []
  const gather = new Gather<Item, string>({
    run: done,
    fit: ({ length }) => length,
    aloneAtOnce: 1,
    split: (size, error) => void splits.push([size, error]),
    sizes: { observe: (size) => void sizes.push(size) },
    ...how,
  })
  return { submit: (item: Item) => gather.submit(item), splits, sizes }
}

/** What became of each item, in order: its answer, or what it was refused with. */
const settle = (submit: Submit, items: readonly Item[]) =>
  Promise.all(
    items.map((item) =>
      submit(item).catch((error: unknown) =>
        error instanceof Failure ? error.code : (error as Error).message,
      ),
    ),
  )

/** Writes down what `run` is given. */
function recorded(run: (items: readonly Item[]) => Promise<readonly (string | Failure)[]>) {
  const batches: string[] = []
  return {
    batches,
    run: (items: readonly Item[]) => {
      batches.push(items.join(''))
      return run(items)
    },
  }
}
const done = async (items: readonly Item[]) => items.map((item) => `done ${item}`)

test('those who come together go together, and each gets an answer of their own', async () => {
  const { run, batches } = recorded(done)
  const { submit, sizes } = gatherer({ run })
  expect(await settle(submit, ['a', 'b', 'c'])).toEqual(['done a', 'done b', 'done c'])
  expect(batches).toEqual(['abc'])
  expect(sizes).toEqual([3])
})

test('what arrives during a batch is the next batch, and never two run at once', async () => {
  const doors = [gate(), gate()]
  let [running, most] = [0, 0]
  const { run, batches } = recorded(async (items) => {
    most = Math.max(most, ++running)
    await doors[batches.length - 1]?.passed
    running--
    return await done(items)
  })
  const { submit } = gatherer({ run })
  const first = settle(submit, ['a'])
  await Bun.sleep(1)
  const later = settle(submit, ['b', 'c'])
  await Bun.sleep(1)
  expect(batches).toEqual(['a'])
  doors[0]?.open()
  await first
  const last = settle(submit, ['d'])
  doors[1]?.open()
  expect(await later).toEqual(['done b', 'done c'])
  expect(await last).toEqual(['done d'])
  expect(batches.join(' ')).toMatch(/^a (bcd|bc d)$/)
  expect(most).toBe(1)
})

test('it goes on after a rest', async () => {
  const { submit } = gatherer()
  expect(await settle(submit, ['a'])).toEqual(['done a'])
  await Bun.sleep(1)
  expect(await settle(submit, ['b'])).toEqual(['done b'])
})

test('no more go together than fit; the others keep their order', async () => {
  const { run, batches } = recorded(done)
  const { submit } = gatherer({ run, fit: ({ length }) => Math.min(2, length) })
  await settle(submit, ['a', 'b', 'c', 'd', 'e'])
  expect(batches).toEqual(['ab', 'cd', 'e'])
})

/** `b` fails; the others have nothing to do with it. */
const failing = async (items: readonly Item[]) =>
  items.map((item) => (item === 'b' ? new Failure('conflict') : `done ${item}`))
const ONE_ALONE = ['done a', 'conflict', 'done c']

test('a failure among the answers is of its item alone', async () => {
  const { submit, splits } = gatherer({ run: failing })
  expect(await settle(submit, ['a', 'b', 'c'])).toEqual(ONE_ALONE)
  expect(splits).toEqual([])
})

test('control: a gatherer that lets one failing item fail all is seen', async () => {
  const { submit } = gatherer({
    async run(items) {
      const results = await failing(items)
      const failed = results.find((one) => one instanceof Failure)
      if (failed !== undefined) throw failed
      return results
    },
  })
  expect(await settle(submit, ['a', 'b', 'c'])).not.toEqual(ONE_ALONE)
})

describe('a batch that fails as a whole', () => {
  const broken = new Error('one of them cannot be done')
  const withBroken = async (items: readonly Item[]) => {
    if (items.includes('b')) throw broken
    return await done(items)
  }

  test('is tried one by one, so that only the one that cannot be done fails', async () => {
    const { run, batches } = recorded(withBroken)
    const { submit, splits } = gatherer({ run })
    expect(await settle(submit, ['a', 'b', 'c'])).toEqual(['done a', broken.message, 'done c'])
    expect(batches).toEqual(['abc', 'a', 'b', 'c'])
    expect(splits).toEqual([[3, broken]])
  })

  test('of one item is not tried again', async () => {
    const { run, batches } = recorded(withBroken)
    const { submit, splits } = gatherer({ run })
    expect(await settle(submit, ['b'])).toEqual([broken.message])
    expect([batches, splits]).toEqual([['b'], []])
  })

  test.each([1, 2, 4])('is tried %d at once, and no more', async (aloneAtOnce) => {
    let [running, most] = [0, 0]
    const { submit } = gatherer({
      aloneAtOnce,
      async run(items) {
        if (items.length > 1) throw broken
        most = Math.max(most, ++running)
        await Bun.sleep(1)
        running--
        return await done(items)
      },
    })
    await settle(submit, 'abcdefghij'.split(''))
    expect(most).toBe(aloneAtOnce)
  })

  test('with a failure of the whole, as of a database that is away, fails each', async () => {
    const { run, batches } = recorded(async () => {
      throw new Failure('unavailable')
    })
    const { submit, splits } = gatherer({ run })
    expect(await settle(submit, ['a', 'b'])).toEqual(['unavailable', 'unavailable'])
    expect([batches, splits]).toEqual([['ab'], []])
  })
})

test('more than 20,000 waiting is overloaded, with when to come back', async () => {
  const { submit } = gatherer({ run: async (items) => items.map(() => 'done') })
  const waiting = Array.from({ length: 20_000 }, () => submit('a'))
  expect(await submit('one more').catch((error: unknown) => error)).toMatchObject({
    code: 'overloaded',
    retryAfterMs: 1_000,
  })
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(['done']))
  expect(await submit('later')).toBe('done')
})
