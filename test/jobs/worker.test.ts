import type { SQL } from 'bun'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { Failure } from '../../src/base/errors.ts'
import { uuidv7 } from '../../src/base/ids.ts'
import { enqueued } from '../../src/kernel/effects.ts'
import { Hopeless, Postponed } from '../../src/kernel/queue.ts'
import { queuesLater } from '../support/jobs.ts'
import { until } from '../support/wait.ts'
import { doing, Errands, hasty, noted, secret, stubborn, told, wide } from './errands.ts'

let errands: Errands
beforeAll(async () => {
  errands = await Errands.start()
})
afterEach(() => errands.clear())
afterAll(() => errands.world.close())

const MINUTE_MS = 60_000
const range = (count: number) => Array.from({ length: count }, (_, n) => `${n}`)

describe('a job', () => {
  test('of a transaction that fails never was', async () => {
    const failing = errands.enqueue(noted, ['a'], {}, async (sql) => {
      await sql`select 1 / 0`
    })
    expect(failing).rejects.toThrow('division by zero')
    await failing.catch(() => undefined)
    expect(await errands.waiting()).toBe(0)
  })

  test('with a payload that is none of its queue is refused where it is enqueued', async () => {
    const wrong = errands.enqueue(noted, [7 as unknown as string])
    expect(wrong).rejects.toThrow('not a payload of the queue test.noted: ')
    await wrong.catch(() => undefined)
  })

  test('has its effect with its end: one that fails late leaves no effect behind', async () => {
    let failing = true
    doing.handle = async ({ tx }, text) => {
      await tx.sql`insert into effects (text) values (${text})`
      if (failing) throw new Error('after the effect')
    }
    await errands.enqueue(noted, ['a'])
    await errands.working(async () => {
      await until(async () => (await errands.jobs())[0]?.error !== null, 'it has failed')
      expect(await errands.effects()).toEqual([])
      failing = false
      await queuesLater(errands.kernel, 2 * MINUTE_MS)
      await errands.done()
    })
    expect(await errands.effects()).toEqual(['a'])
  })

  test('sees which try it is, and since when it waits', async () => {
    const seen: number[] = []
    const before = Date.now()
    doing.perform = async ({ job }) => {
      seen.push(job.attempt)
      expect(Math.abs(job.enqueuedAtMs - before)).toBeLessThan(5_000)
      if (job.attempt === 1) throw new Error('no')
    }
    await errands.enqueue(told, ['a'])
    await errands.working(async () => {
      await until(() => seen.length === 1, 'the first try')
      await until(async () => (await errands.jobs())[0]?.error === 'Error: no', 'it is noted')
      await queuesLater(errands.kernel, 2 * MINUTE_MS)
      await errands.done()
    })
    expect(seen).toEqual([1, 2])
  })

  test('waits longer after each failure, and is a dead letter after its last try', async () => {
    doing.perform = () => Promise.reject(new Error('of ?token=abcdefgh and more'))
    await errands.enqueue(told, ['a'])
    await errands.working(async () => {
      for (const [attempts, waitMs] of [
        [1, MINUTE_MS],
        [2, 2 * MINUTE_MS],
      ] as const) {
        await until(async () => {
          const [job] = await errands.jobs()
          return job?.attempts === attempts && job.error !== null && job.due_ms > 0
        }, `try ${attempts}`)
        const [job] = await errands.jobs()
        expect(job?.due_ms).toBeGreaterThan(waitMs * 0.8 - 5_000)
        expect(job?.due_ms).toBeLessThan(waitMs * 1.2)
        await queuesLater(errands.kernel, 5 * MINUTE_MS)
      }
      await errands.done()
    })
    const [dead] = await errands.dead()
    expect(dead).toMatchObject({ queue: 'test.told', attempts: 3 })
    expect(dead?.error).toBe('Error: of ?token=[redacted] and more')
    expect(new TextDecoder().decode(dead?.payload)).toBe('{"text":"a"}')
  })

  test('waits as long as a Failure asks for', async () => {
    const wait = { retryAfterMs: 30 * MINUTE_MS }
    doing.perform = () => Promise.reject(new Failure('unavailable', 'later', wait))
    await errands.enqueue(told, ['a'])
    await errands.working(async () => {
      await until(async () => (await errands.jobs())[0]?.error !== null, 'it has failed')
    })
    expect((await errands.jobs())[0]?.due_ms).toBeGreaterThan(29 * MINUTE_MS)
  })

  test('that is hopeless is given up at once; one that is postponed was not tried', async () => {
    doing.perform = (_ctx, text) =>
      Promise.reject(text === 'a' ? new Hopeless('nobody') : new Postponed(MINUTE_MS, 'not now'))
    await errands.enqueue(told, ['a', 'b'])
    await errands.working(async () => {
      await until(async () => (await errands.dead()).length === 1, 'a is dead')
      await until(async () => ((await errands.jobs())[0]?.due_ms ?? 0) > 0, 'b waits')
    })
    expect((await errands.dead())[0]).toMatchObject({ attempts: 1, error: 'Hopeless: nobody' })
    expect(await errands.jobs()).toMatchObject([{ attempts: 0 }])
  })

  test('of a queue that this version does not know is left alone', async () => {
    const id = uuidv7()
    await errands.sql`
      insert into queue_jobs (id, queue, payload, due_at, created_at)
      values (${id}, 'test.newer', '{}', now(), now())`
    await errands.enqueue(noted, ['a'])
    await errands.working(async () => {
      await until(async () => (await errands.waiting()) === 1, 'the known one is done')
      await Bun.sleep(400)
    })
    expect(await errands.jobs()).toMatchObject([{ attempts: 0 }])
  })

  test('with a payload of another version is tried, and its error says where only', async () => {
    await errands.sql`
      insert into queue_jobs (id, queue, payload, due_at, created_at)
      values (${uuidv7()}, 'test.told', '{"text":{"secret":"hush"}}', now(), now())`
    await errands.working(async () => {
      await until(async () => (await errands.jobs())[0]?.error !== null, 'it has failed')
    })
    const [job] = await errands.jobs()
    expect(job?.error).toBe('Error: not a payload of the queue test.told: /text')
  })

  test('with secrets has them sealed while it waits and when it is dead', async () => {
    let seen = ''
    doing.perform = (_ctx, text) => {
      seen = text
      return Promise.reject(new Error('no'))
    }
    await errands.enqueue(secret, ['hush'])
    const [row] = await errands.sql`select payload from queue_jobs`
    expect(Buffer.from(row.payload).includes('hush')).toBeFalse()
    await errands.working(() => errands.done())
    expect(seen).toBe('hush')
    const [dead] = await errands.dead()
    expect(Buffer.from(dead?.payload ?? []).includes('hush')).toBeFalse()
    const { vault } = errands.kernel
    const place = `dead_letters.payload:${dead?.id}`
    expect(vault.open(place, dead?.payload as Uint8Array).toString()).toBe('{"text":"hush"}')
  })
})

describe('the start of a job', () => {
  test('follows its commit here at once, and a delay exactly', async () => {
    const starts = new Map<string, number>()
    doing.handle = async (_ctx, text) => void starts.set(text, performance.now())
    await errands.working(async () => {
      const startMs = performance.now()
      await errands.enqueue(noted, ['now'])
      await errands.enqueue(noted, ['later'], { delayMs: 600 })
      await errands.done()
      expect((starts.get('now') ?? 0) - startMs).toBeLessThan(150)
      expect((starts.get('later') ?? 0) - startMs).toBeGreaterThanOrEqual(599)
      expect((starts.get('later') ?? 0) - startMs).toBeLessThan(900)
    })
  })

  test('of another instance’s job comes within 200 ms', async () => {
    // The control: looking once a second, as many queues do, would be late in four of five cases.
    const late: number[] = []
    let committedMs = 0
    doing.handle = async () => void late.push(performance.now() - committedMs)
    await errands.working(async () => {
      for (let n = 1; n <= 20; n++) {
        errands.kernel.queues.onCommitted(() => undefined)
        await errands.enqueue(noted, ['a'])
        committedMs = performance.now()
        await until(() => late.length === n, 'it has started')
        await Bun.sleep(37)
      }
    })
    const sorted = late.toSorted((a, b) => a - b)
    expect(sorted[9]).toBeLessThan(200)
    expect(sorted[18]).toBeLessThan(400)
  })

  test('does not wait for a long line in another queue', async () => {
    let fast = 0
    doing.handle = async () => Bun.sleep(20)
    doing.perform = async () => void fast++
    await errands.enqueue(wide, range(300))
    await errands.working(async () => {
      await Bun.sleep(100)
      await errands.enqueue(noted, ['x'])
      await errands.enqueue(told, ['y'])
      const waitedMs = await until(async () => {
        const [row] = await errands.sql`
          select count(*)::int as left from queue_jobs where queue in ('test.noted', 'test.told')`
        return row.left === 0
      }, 'the others had their turn')
      expect(waitedMs).toBeLessThan(1_000)
      expect(fast).toBe(1)
      expect(await errands.waiting()).toBeGreaterThan(20)
    })
  })

  test('leaves requests their connections, however many jobs there are', async () => {
    doing.handle = async ({ tx }) => {
      await tx.sql`select pg_sleep(0.1)`
    }
    await errands.enqueue(wide, range(60))
    await errands.working(async (worker) => {
      await until(() => worker.running() > 0, 'they run')
      // The control: a place each, as its queue allows, would take all of the pool's twenty.
      expect(worker.running()).toBeLessThanOrEqual(8)
      for (let n = 0; n < 10; n++) {
        const startMs = performance.now()
        await Promise.all(
          range(8).map(() => errands.kernel.db.transaction(({ sql }) => sql`select`)),
        )
        expect(performance.now() - startMs).toBeLessThan(90)
      }
      await errands.done()
    })
  })
})

describe('a key', () => {
  test('is in line once, with the earliest of its times', async () => {
    await errands.enqueue(noted, ['a', 'b'], { key: 'k', delayMs: MINUTE_MS })
    await errands.enqueue(noted, ['c'], { key: 'k' })
    await errands.enqueue(noted, ['d'], { key: 'other' })
    expect(await errands.waiting()).toBe(2)
    const ran: string[] = []
    doing.handle = async (_ctx, text) => void ran.push(text)
    await errands.working(() => errands.done())
    expect(ran.toSorted()).toEqual(['a', 'd'])
  })

  test('enqueued during a run is not lost', async () => {
    const runs: string[] = []
    const gate = Promise.withResolvers<void>()
    doing.handle = async (_ctx, text) => {
      runs.push(text)
      if (text === 'first') await gate.promise
    }
    await errands.working(async () => {
      await errands.enqueue(noted, ['first'], { key: 'k' })
      await until(() => runs.length === 1, 'it runs')
      await errands.enqueue(noted, ['second'], { key: 'k' })
      gate.resolve()
      await errands.done()
    })
    expect(runs).toEqual(['first', 'second'])
  })

  // Two transactions write and enqueue the same key; the second is still open when the job is due.
  // Started then, it would see the first alone, and nobody would come back for the second.
  const seenEffects = async (enqueueSecond: (sql: SQL) => Promise<unknown>) => {
    const seen: number[] = []
    doing.handle = async ({ tx }) => {
      const [row] = await tx.sql`select count(*)::int as effects from effects`
      seen.push(row.effects as number)
    }
    const write = (sql: SQL) => sql`insert into effects (text) values ('x')`
    await errands.working(async () => {
      errands.kernel.queues.onCommitted(() => undefined)
      await errands.enqueue(noted, ['a'], { key: 'k', delayMs: 150 }, write)
      await errands.kernel.db.transaction(async ({ sql }) => {
        await write(sql)
        await enqueueSecond(sql)
        await Bun.sleep(700)
      })
      await errands.done()
    })
    return seen
  }
  test('starts after whoever enqueued it last has committed', async () => {
    const queued = enqueued(noted, { text: 'b' }, { key: 'k', delayMs: 150 })
    const { queues } = errands.kernel
    expect(await seenEffects((sql) => queues.insert(sql, [queued]))).toEqual([2])
    await errands.clear()
    // The control: nothing to be done, since one is in line already.
    const naive = (sql: SQL) => sql`
      insert into queue_jobs (id, queue, key, payload, due_at, created_at)
      values (${uuidv7()}, 'test.noted', 'k', '{"text":"b"}', now(), now())
      on conflict (queue, key) where key is not null and lease_id is null do nothing`
    expect(await seenEffects(naive)).toEqual([1])
  })

  test('that somebody enqueues at every moment has its turn all the same', async () => {
    let runs = 0
    doing.handle = async () => void runs++
    await errands.working(async () => {
      let stopped = false
      const writer = async () => {
        while (!stopped) {
          await errands.kernel.db.transaction(async ({ sql }) => {
            const queued = enqueued(noted, { text: 'x' }, { key: 'hot' })
            await errands.kernel.queues.insert(sql, [queued])
            await Bun.sleep(15)
          })
        }
      }
      const writers = range(6).map(writer)
      // The control is a claim that only ever skips locked rows: it got none in four seconds.
      await Bun.sleep(2_500)
      expect(runs).toBeGreaterThanOrEqual(1)
      stopped = true
      await Promise.all(writers)
      await errands.done()
    })
  })

  test('of a job that failed gives way to a newer one', async () => {
    const runs: string[] = []
    const gate = Promise.withResolvers<void>()
    doing.handle = async (_ctx, text) => {
      runs.push(text)
      if (text !== 'first') return
      await gate.promise
      throw new Error('no')
    }
    await errands.working(async () => {
      await errands.enqueue(noted, ['first'], { key: 'k' })
      await until(() => runs.length === 1, 'it runs')
      await errands.enqueue(noted, ['second'], { key: 'k', delayMs: 300 })
      gate.resolve()
      await errands.done()
    })
    expect(runs).toEqual(['first', 'second'])
    expect(await errands.dead()).toEqual([])
  })

  test('may be enqueued from everywhere at once', async () => {
    const keys = range(5)
    const all = range(30).map(async (n) => {
      const who = keys.toSorted(() => (Number(n) % 3) - 1)
      for (const key of who) await errands.enqueue(noted, [n], { key, delayMs: MINUTE_MS })
    })
    await Promise.all(all)
    expect(await errands.waiting()).toBe(keys.length)
  })
})

describe('a deadline', () => {
  test('ends the transaction of a handler that pays no heed', async () => {
    const late = Promise.withResolvers<unknown>()
    doing.handle = async ({ tx, signal }, text) => {
      await tx.sql`insert into effects (text) values (${text})`
      await Bun.sleep(300)
      expect(signal.aborted).toBeTrue()
      // Whatever it still does, its transaction is over.
      await tx.sql`insert into effects (text) values ('late')`.catch(late.resolve)
    }
    await errands.enqueue(hasty, ['a'])
    await errands.working(async () => {
      await until(async () => (await errands.jobs())[0]?.error !== null, 'it has failed')
      expect(String(await late.promise)).toContain('transaction')
    })
    expect((await errands.jobs())[0]?.error).toBe('DeadlineExceeded: Took longer than 100 ms')
    expect(await errands.effects()).toEqual([])
  })

  test('frees the place of one that never ends, which is not started beside itself', async () => {
    const runs: string[] = []
    const never = Promise.withResolvers<void>()
    doing.perform = (_ctx, text) => {
      runs.push(text)
      return text === 'stuck' && runs.length === 1 ? never.promise : Promise.resolve()
    }
    await errands.enqueue(stubborn, ['stuck', 'next'])
    await errands.working(async () => {
      await until(() => runs.includes('next'), 'the next one runs')
      await queuesLater(errands.kernel, 2 * MINUTE_MS)
      never.resolve()
      await errands.done()
    })
    expect(runs).toEqual(['stuck', 'next', 'stuck'])
  })
})
