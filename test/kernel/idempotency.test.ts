import { SQL } from 'bun'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { systemClock, testClock } from '../../src/base/clock.ts'
import { Failure } from '../../src/base/errors.ts'
import { input, t } from '../../src/base/schema.ts'
import { anyone, type Caller, user } from '../../src/kernel/access.ts'
import type { Call } from '../../src/kernel/call.ts'
import { operation } from '../../src/kernel/operation.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { until } from '../support/wait.ts'
import { apiKeyOf, callOf, codeOf, gate, person, settled } from './callers.ts'

/** A request with a key counts once, however often it comes. */

const OLD_KEY = '00'.repeat(32)
const NEW_KEY = '11'.repeat(32)
const env = { RATE_LIMITS: 'off' }

let here: TestKernel
/** A second instance of the same product. */
let there: TestKernel
beforeAll(async () => {
  here = await testKernel({ features: [], env })
  there = await testKernel({ features: [], env, database: here.database })
})
afterAll(async () => {
  await there.close()
  await here.close()
})

/** Counts its runs, and waits or fails where a test wants it to. */
function counter(name: string) {
  const state = { runs: 0, fails: false, prepared: Promise.resolve(), passed: Promise.resolve() }
  const count = operation(name, {
    summary: 'Counts',
    access: user({ scope: 'users:write' }),
    limit: 'write',
    idempotent: true,
    input: input({
      amount: t.Optional(t.Integer()),
      note: t.Optional(t.Object({ a: t.Integer(), b: t.Integer() })),
    }),
    output: t.Object({ run: t.Integer() }),
    prepare: () => state.prepared,
    async handler() {
      const run = ++state.runs
      await state.passed
      if (state.fails) throw new Failure('conflict')
      return { run }
    },
  })
  return { state, count }
}

const ada = person()
let keys = 0
const someKey = () => `key ${++keys}`

test('the same request again gets the same answer, as a replay', async () => {
  const { state, count } = counter('idempotent.same')
  const call = callOf(ada, { amount: 1 }, { key: someKey() })
  expect(await here.executor.execute(count, call)).toEqual({ output: { run: 1 } })
  for (const { executor } of [here, there]) {
    expect(await executor.execute(count, call)).toEqual({ output: { run: 1 }, replayed: true })
  }
  expect(state.runs).toBe(1)
})

describe('a second request', () => {
  const eve = person()
  const service = apiKeyOf(['users:write'])
  const first = { amount: 1, note: { a: 1, b: 2 } }

  test.each<[what: string, caller: Caller, body: object, got: unknown]>([
    ['of the same', ada, first, { run: 1 }],
    ['spelt in another order', ada, { note: { b: 2, a: 1 }, amount: 1 }, { run: 1 }],
    ['with a field that is dropped', ada, { ...first, user_id: 'x' }, { run: 1 }],
    ['with another value', ada, { ...first, amount: 2 }, 'idempotency_key_reused'],
    ['with a field less', ada, { amount: 1 }, 'idempotency_key_reused'],
    ['of somebody else', eve, first, { run: 2 }],
    ['of somebody else, about something else', eve, { amount: 9 }, { run: 2 }],
    ['of a service', service, first, { run: 2 }],
  ])('%s', async (_, caller, body, got) => {
    const { count } = counter('idempotent.second')
    const key = someKey()
    await here.executor.execute(count, callOf(ada, first, { key }))
    const outcome = await settled(() => here.executor.execute(count, callOf(caller, body, { key })))
    expect(outcome instanceof Failure ? outcome.code : outcome.output).toEqual(got)
  })

  test('with the key of another operation is another request', async () => {
    const key = someKey()
    for (const name of ['idempotent.one', 'idempotent.two']) {
      const { count } = counter(name)
      const call = callOf(ada, first, { key })
      expect(await here.executor.execute(count, call)).toEqual({ output: { run: 1 } })
    }
  })

  test('of strangers has keys that all of them share', async () => {
    const open = operation('idempotent.open', {
      summary: 'For anybody',
      access: anyone(),
      limit: 'write',
      idempotent: true,
      input: input({}),
      output: t.Object({ id: t.String() }),
      handler: async () => ({ id: crypto.randomUUID() }),
    })
    const call = callOf(null, {}, { key: someKey() })
    const { output } = await here.executor.execute(open, call)
    expect(await here.executor.execute(open, call)).toEqual({ output, replayed: true })
  })
})

describe('while the first runs', () => {
  /** Calls that wait for a lock which another connection holds. */
  const waitingForLock = async () => {
    const [row] = await here.kernel.db.sql`
      select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted
      and database = (select oid from pg_database where datname = current_database())`
    return row.n === 1
  }

  test('others in this process wait for it, without a connection, and get its answer', async () => {
    const { state, count } = counter('idempotent.waits')
    const door = gate()
    state.passed = door.passed
    const call = callOf(ada, {}, { key: someKey() })
    const calls = Array.from({ length: 30 }, () => here.executor.execute(count, call))
    await until(() => state.runs === 1, 'the first runs')
    expect(here.kernel.db.pool().busy).toBe(1)
    door.open()
    const outcomes = await Promise.all(calls)
    expect(outcomes[0]).toEqual({ output: { run: 1 } })
    for (const outcome of outcomes.slice(1)) {
      expect(outcome).toEqual({ output: { run: 1 }, replayed: true })
    }
  })

  test('one of another instance waits in the database, and gets its answer', async () => {
    const { state, count } = counter('idempotent.instances')
    const door = gate()
    state.passed = door.passed
    const call = callOf(ada, {}, { key: someKey() })
    const first = here.executor.execute(count, call)
    await until(() => state.runs === 1, 'the first runs')
    const second = there.executor.execute(count, call)
    await until(waitingForLock, 'the second waits')
    door.open()
    expect(await first).toEqual({ output: { run: 1 } })
    expect(await second).toEqual({ output: { run: 1 }, replayed: true })
  })

  test('and fails, the next one runs', async () => {
    const { state, count } = counter('idempotent.fails')
    const door = gate()
    state.passed = door.passed
    state.fails = true
    const call = callOf(ada, {}, { key: someKey() })
    const first = codeOf(() => here.executor.execute(count, call))
    await until(() => state.runs === 1, 'the first runs')
    const second = there.executor.execute(count, call)
    await until(waitingForLock, 'the second waits')
    door.open()
    expect(await first).toBe('conflict')
    state.fails = false
    expect(await second).toEqual({ output: { run: 2 } })
  })

  test('for more than 5 s, others in this process are told to come back', async () => {
    const clock = testClock(systemClock.now())
    const slow = await testKernel({ features: [], env, clock, database: here.database })
    const { state, count } = counter('idempotent.slow')
    const door = gate()
    state.passed = door.passed
    const call = callOf(ada, {}, { key: someKey() })
    const first = slow.executor.execute(count, call)
    await until(() => state.runs === 1, 'the first runs')
    const second = settled(() => slow.executor.execute(count, call))
    await clock.advanceAsync(4_999)
    const early = await Promise.race([second, Promise.resolve('waiting')])
    expect(early).toBe('waiting')
    await clock.advanceAsync(1)
    expect(await second).toMatchObject({ code: 'request_in_progress', retryAfterMs: 1_000 })
    door.open()
    expect(await first).toEqual({ output: { run: 1 } })
    expect(await slow.executor.execute(count, call)).toMatchObject({ replayed: true })
    await slow.close()
  })

  test('what was waited here is not waited again for another instance', async () => {
    const clock = testClock(systemClock.now())
    const slow = await testKernel({ features: [], env, clock, database: here.database })
    const { state, count } = counter('idempotent.both')
    const running = gate()
    state.passed = running.passed
    const key = someKey()
    const call: Call = callOf(ada, {}, { key })
    const elsewhere = here.executor.execute(count, call)
    await until(() => state.runs === 1, 'the first runs')

    const preparing = Promise.withResolvers<void>()
    state.prepared = preparing.promise
    const before = codeOf(() => slow.executor.execute(count, call))
    const behind = settled(() => slow.executor.execute(count, call))
    await clock.advanceAsync(4_900)
    state.prepared = Promise.resolve()
    preparing.reject(new Failure('conflict'))
    expect(await before).toBe('conflict')
    // 100 ms are left of the 5 s, which the database counts.
    const startMs = performance.now()
    expect(await behind).toMatchObject({ code: 'request_in_progress', retryAfterMs: 1_000 })
    expect(performance.now() - startMs).toBeLessThan(3_000)
    running.open()
    await elsewhere
    await slow.close()
  })
})

test('a first request that fails leaves its key free, also for another body', async () => {
  const { state, count } = counter('idempotent.free')
  const key = someKey()
  state.fails = true
  expect(await codeOf(() => here.executor.execute(count, callOf(ada, {}, { key })))).toBe(
    'conflict',
  )
  state.fails = false
  const other = callOf(ada, { amount: 5 }, { key })
  expect(await there.executor.execute(count, other)).toEqual({ output: { run: 2 } })
})

describe('with another master key', () => {
  test.each<[what: string, keys: string, got: unknown]>([
    ['that replaces the old one, which is still known', `${NEW_KEY},${OLD_KEY}`, { run: 1 }],
    ['that comes after the old one', `${OLD_KEY},${NEW_KEY}`, { run: 1 }],
    ['alone, a request cannot be recognised', NEW_KEY, 'idempotency_key_reused'],
  ])('%s', async (_, MASTER_ENCRYPTION_KEY, got) => {
    const { count } = counter('idempotent.rotated')
    const call = callOf(ada, { amount: 1 }, { key: someKey() })
    await here.executor.execute(count, call)
    const rotated = await testKernel({
      features: [],
      env: { ...env, MASTER_ENCRYPTION_KEY },
      database: here.database,
    })
    const outcome = await settled(() => rotated.executor.execute(count, call))
    expect(outcome instanceof Failure ? outcome.code : outcome.output).toEqual(got)
    await rotated.close()
  })
})

describe('a record', () => {
  test.each<[daysAgo: number, output: object]>([
    [0, { run: 1 }],
    [1, { run: 1 }],
    [2, { run: 2 }],
  ])('of %d days ago', async (daysAgo, output) => {
    const { count } = counter(`idempotent.day_${daysAgo}`)
    const call = callOf(ada, {}, { key: someKey() })
    await here.executor.execute(count, call)
    const owner = new SQL({ url: here.database.ownerUrl, max: 1 })
    try {
      const moved = await owner`
        update idempotency set day = day - ${daysAgo}::int
        where created_at = (select max(created_at) from idempotency) returning 1`
      expect(moved.length).toBe(1)
    } finally {
      await owner.close()
    }
    expect((await here.executor.execute(count, call)).output).toEqual(output)
  })

  test('holds neither the key nor the input', async () => {
    const { count } = counter('idempotent.secret')
    const key = 'a-key-that-nobody-else-has'
    await here.executor.execute(count, callOf(ada, { amount: 314_159 }, { key }))
    const rows = await here.kernel.db.sql`select i::text as text from idempotency i`
    const text = rows.map((row: { text: string }) => row.text).join('\n')
    expect(text).not.toContain('314159')
    expect(text).not.toContain(key)
    expect(text).not.toContain(Buffer.from(key).toString('hex'))
  })
})
