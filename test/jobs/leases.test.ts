import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { Leases } from '../../jobs/leases.ts'
import { startWorker } from '../../jobs/worker.ts'
import { uuidv7 } from '../../src/base/ids.ts'
import { until } from '../support/wait.ts'
import { doing, Errands, noted, told } from './errands.ts'

let errands: Errands
beforeAll(async () => {
  errands = await Errands.start()
})
afterEach(() => errands.clear())
afterAll(() => errands.world.close())

const range = (count: number) => Array.from({ length: count }, (_, n) => `${n}`)

describe('a worker', () => {
  test('that goes away gives back what it has, uncounted', async () => {
    let aborted = 0
    doing.perform = async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      aborted++
      throw new Error('as told')
    }
    await errands.enqueue(told, ['a', 'b'])
    await errands.working(async (worker) => {
      await until(() => worker.running() === 2, 'both run')
    })
    expect(aborted).toBe(2)
    expect(await errands.jobs()).toMatchObject([
      { attempts: 0, error: null },
      { attempts: 0, error: null },
    ])
    expect((await errands.sql`select id from queue_workers`).length).toBe(0)
  })

  test('waits for what is about to end when it goes away', async () => {
    doing.handle = async ({ tx }, text) => {
      await Bun.sleep(200)
      await tx.sql`insert into effects (text) values (${text})`
    }
    await errands.enqueue(noted, ['a'])
    await errands.working(async (worker) => {
      await until(() => worker.running() === 1, 'it runs')
    })
    expect(await errands.effects()).toEqual(['a'])
    expect(await errands.waiting()).toBe(0)
  })

  test('that is gone loses its jobs after its lease, one at a time', async () => {
    const { kernel } = errands
    const crashed = new Leases(kernel.db, uuidv7(), 600)
    await crashed.beat()
    await errands.enqueue(told, ['a', 'b', 'c'])
    await crashed.claim([{ queue: told.name, free: 3, running: 0 }], 3, [])
    let most = 0
    let now = 0
    const tries: number[] = []
    doing.perform = async ({ job }) => {
      most = Math.max(most, ++now)
      tries.push(job.attempt)
      await Bun.sleep(50)
      now--
    }
    const tookMs = await errands.working(() =>
      until(async () => (await errands.waiting()) === 0, 'all done'),
    )
    expect(tookMs).toBeGreaterThan(400)
    expect(tries).toEqual([2, 2, 2])
    // One of them may have ended its process: it must not take the others along again.
    expect(most).toBe(1)
  })

  test('alone on its database takes over at once', async () => {
    const { kernel } = errands
    const crashed = new Leases(kernel.db, uuidv7(), 60_000)
    await crashed.beat()
    await errands.enqueue(told, ['a'])
    await crashed.claim([{ queue: told.name, free: 1, running: 0 }], 1, [])
    await errands.working(() => errands.done(2_000), { alone: true })
  })

  test('buries what was lost with its server in its last try', async () => {
    const { kernel } = errands
    let ran = false
    doing.perform = async () => void (ran = true)
    await errands.enqueue(told, ['a'])
    for (let tried = 0; tried < told.triesMax; tried++) {
      const crashed = new Leases(kernel.db, uuidv7(), 60_000)
      // Never heard of alive.
      const taken =
        tried === 0
          ? await crashed.claim([{ queue: told.name, free: 1, running: 0 }], 1, [])
          : await crashed.takeOver([told.name], [])
      expect(taken).toMatchObject([{ attempt: tried + 1 }])
    }
    await errands.working(() => errands.done())
    expect(ran).toBeFalse()
    expect(await errands.dead()).toMatchObject([
      { attempts: 3, error: 'Error: Its server was lost during the last try' },
    ])
  })

  test('that was silent for too long does not end what is another’s by now', async () => {
    // It claims, falls silent (no beats), and goes on when another has taken over.
    const { kernel } = errands
    const gate = Promise.withResolvers<void>()
    let runs = 0
    doing.handle = async ({ tx }, text) => {
      if (++runs === 1) await gate.promise
      await tx.sql`insert into effects (text) values (${text})`
    }
    await errands.enqueue(noted, ['a'])
    const [job] = await new Leases(kernel.db, uuidv7(), 1).claim(
      [{ queue: noted.name, free: 1, running: 0 }],
      1,
      [],
    )
    expect(job?.attempt).toBe(1)
    gate.resolve()
    await errands.working(() => errands.done())
    // The one of before comes back: neither complete, put back nor bury does anything.
    const late = new Leases(kernel.db, uuidv7(), 60_000)
    const first = { id: job?.id as string, attempt: 1 }
    await late.complete([first])
    expect(await late.putBack(first, { delayMs: 0, counted: true })).toBeFalse()
    expect(
      await late.bury(first, { payload: new Uint8Array(), attempts: 1, error: 'x' }),
    ).toBeFalse()
    expect(await errands.effects()).toEqual(['a'])
  })

  test('gives back what it has claimed without getting the answer', async () => {
    let runs = 0
    doing.perform = async () => void runs++
    await errands.working(
      async (worker) => {
        await errands.sql`
          insert into queue_jobs (id, queue, payload, due_at, attempts, lease_id, created_at)
          values (${uuidv7()}, 'test.told', '{"text":"a"}', now(), 1, ${worker.id}, now())`
        await errands.done()
      },
      { leaseMs: 400 },
    )
    expect(runs).toBe(1)
  })

  test('beside another: each job once', async () => {
    const { kernel } = errands
    doing.handle = async ({ tx }, text) => {
      await tx.sql`insert into effects (text) values (${text})`
    }
    const seen: string[] = []
    doing.perform = async (_ctx, text) => void seen.push(text)
    await errands.enqueue(noted, range(200))
    await errands.enqueue(told, range(200))
    const other = await startWorker(kernel)
    await errands.working(() => errands.done())
    await other.stop()
    expect((await errands.effects()).toSorted()).toEqual(range(200).toSorted())
    expect(seen.toSorted()).toEqual(range(200).toSorted())
  })
})
