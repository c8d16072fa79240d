import { afterAll, beforeAll, describe, expect, spyOn, test } from 'bun:test'
import { Failure } from '../../src/base/errors.ts'
import { input, t } from '../../src/base/schema.ts'
import { internalRequest, user } from '../../src/kernel/access.ts'
import type { BatchContext, BatchItem, WriteContext } from '../../src/kernel/context.ts'
import type { Emission } from '../../src/kernel/effects.ts'
import { OperationExecutor } from '../../src/kernel/execute.ts'
import { operation } from '../../src/kernel/operation.ts'
import { queue } from '../../src/kernel/queue.ts'
import type { StepUp } from '../../src/kernel/step-up.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { auditTrail } from '../support/audit.ts'
import { query } from '../support/embedded.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { callOf, codeOf, gate, person, settled } from './callers.ts'

let world: TestKernel
beforeAll(async () => {
  world = await testKernel({ features: [] })
})
afterAll(() => world.close())

const run = <T>(work: (ctx: WriteContext<null>) => Promise<T>) =>
  unitOfWork(world.kernel, { actor: null, request: internalRequest('test') }, work)
const actions = async (prefix: string) =>
  (await auditTrail(world, prefix)).map(({ action }) => action)

test('what commits is in the log, and its refusals are not', async () => {
  await run(async (ctx) => {
    ctx.audit({ action: 'good.done' })
    ctx.auditRefusal({ action: 'good.refused' })
  })
  expect(await actions('good.')).toEqual(['good.done'])
})

test('of what fails the refusals are in the log, and what was not done is not', async () => {
  const refused = run(async (ctx) => {
    ctx.audit({ action: 'bad.done' })
    ctx.auditRefusal({ action: 'bad.refused', outcome: 'denied' })
    throw new Failure('forbidden')
  })
  expect(await refused.catch((error: unknown) => error)).toMatchObject({ code: 'forbidden' })
  expect(await actions('bad.')).toEqual(['bad.refused'])
})

test('a try that is run again counts once', async () => {
  let tries = 0
  const refused = run(async (ctx) => {
    ctx.auditRefusal({ action: 'again.refused' })
    tries++
    if (tries < 3) await ctx.tx.sql`do $$ begin raise exception sqlstate '40001'; end $$`
    throw new Failure('forbidden')
  })
  await refused.catch(() => undefined)
  expect(tries).toBe(3)
  expect(await actions('again.')).toEqual(['again.refused'])
})

test('a refusal that cannot be written down is answered all the same, and logged', async () => {
  const record = spyOn(world.kernel.audit, 'record').mockRejectedValue(new Error('no database'))
  try {
    const refused = run(async (ctx) => {
      ctx.auditRefusal({ action: 'lost.refused' })
      throw new Failure('forbidden')
    })
    expect(await refused.catch((error: unknown) => error)).toMatchObject({ code: 'forbidden' })
  } finally {
    record.mockRestore()
  }
  expect(world.log.entries.at(-1)).toMatchObject({
    level: 'error',
    fields: { action: 'lost.refused' },
  })
})

test('who is told after the commit and fails, fails neither the call nor the others', async () => {
  const told: string[] = []
  const output = await run(async (ctx) => {
    ctx.afterCommit(() => {
      throw new Error('deaf')
    })
    ctx.afterCommit(() => void told.push('the other'))
    return 'done'
  })
  expect([output, told]).toEqual(['done', ['the other']])
  expect(world.log.entries.at(-1)).toMatchObject({ message: 'not told after a commit' })
})

const errands = queue('errands', {
  description: 'Errands of the tests',
  payload: t.Object({ n: t.Integer() }),
  concurrency: 1,
  deadlineMs: 1_000,
  triesMax: 1,
  backoffMs: 1,
  async handle() {},
})
const greeting: Emission = {
  channel: 'user:ada',
  owner: 'ada',
  recovery: 'stream',
  type: 'greeting',
  kind: 999,
  payload: '{}',
  ref: undefined,
}

/** Everything that a call may leave behind. */
function leaveEffects(ctx: WriteContext, action: string): void {
  ctx.emit(greeting)
  ctx.audit({ action })
  ctx.enqueue(errands, { n: 1 })
}

/** What the calls of `action` have left behind: events, lines, jobs, records. */
async function left(action: string, emittedBefore: number) {
  const [row] = await world.kernel.db.sql`
    select (select count(*)::int from queue_jobs where queue = 'errands') as jobs,
      (select count(*)::int from idempotency) as records`
  return {
    events: world.emitted.length - emittedBefore,
    lines: (await actions(action)).length,
    jobs: row.jobs as number,
    records: row.records as number,
  }
}
const cleared = async () => {
  await world.kernel.db.sql`delete from queue_jobs`
  // As the owner: the server's role keeps what it has answered.
  await query(world.database.ownerUrl, (sql) => sql`delete from idempotency`)
  return world.emitted.length
}

/** Executes with a second factor that is always there, and writes down what happens in order. */
function observed(stepUp?: StepUp) {
  const notes: string[] = []
  const noted: StepUp = stepUp ?? { require: async () => void notes.push('step-up') }
  const executor = new OperationExecutor(world.kernel, { stepUp: noted, checksOutputs: true })
  return { notes, executor }
}

const common = {
  summary: 'A sample',
  access: user(),
  limit: 'write',
  input: input({ n: t.Optional(t.Integer()) }),
  output: t.Object({ n: t.Integer() }),
} as const

/** An operation of every part, each of which notes down that it had its turn. */
function everyPart(notes: string[], handler?: (ctx: WriteContext) => Promise<void>) {
  const all = operation('write.every_part', {
    ...common,
    idempotent: true,
    async prepare() {
      notes.push('prepare')
      return 7
    },
    stepUp: () => true,
    async handler(ctx, _input, prepared) {
      notes.push('handler')
      leaveEffects(ctx, 'parts.done')
      ctx.afterCommit(() => void notes.push('tell'))
      await handler?.(ctx)
      return { n: prepared }
    },
    secretOutput: {
      remember({ n }) {
        notes.push('record')
        return String(n)
      },
      async replay(_ctx, text) {
        notes.push('replay')
        return { n: Number(text) }
      },
    },
  })
  const { validOutput } = all
  const check = (value: unknown) => {
    notes.push('check')
    return validOutput.check(value)
  }
  return { ...all, validOutput: { ...validOutput, check } }
}

/** Notes down where the transaction begins, gets its effects and is committed. */
function watchTransaction(notes: string[]) {
  const { db, streams } = world.kernel
  const [transaction, enqueue] = [db.transaction, streams.enqueue]
  const spies = [
    spyOn(db, 'transaction').mockImplementation((async (fn: never) => {
      notes.push('begin')
      const done = await transaction(fn)
      notes.push('commit')
      return done
    }) as never),
    spyOn(streams, 'enqueue').mockImplementation(async (sql, emissions) => {
      notes.push('effects')
      await enqueue(sql, emissions)
    }),
  ]
  return () => {
    for (const spy of spies) spy.mockRestore()
  }
}

const WHOLE = 'prepare begin step-up handler check record effects commit tell'.split(' ')

describe('a write', () => {
  test('goes from its turn to the telling in one order', async () => {
    const { notes, executor } = observed()
    const all = everyPart(notes)
    const unwatch = watchTransaction(notes)
    try {
      const call = callOf(person(), {}, { key: 'order' })
      expect(await executor.execute(all, call)).toEqual({ output: { n: 7 } })
      expect(notes).toEqual(WHOLE)

      // Again: neither a second factor nor the handler, and nothing is told.
      notes.length = 0
      expect(await executor.execute(all, call)).toEqual({ output: { n: 7 }, replayed: true })
      expect(notes).toEqual(['prepare', 'begin', 'replay', 'commit'])
    } finally {
      unwatch()
    }
  })

  test('prepares nothing before its turn has come', async () => {
    const { notes, executor } = observed()
    const door = gate()
    const all = everyPart(notes, () => door.passed)
    const call = callOf(person(), {}, { key: 'turn' })
    const both = [executor.execute(all, call), executor.execute(all, call)]
    await Bun.sleep(30)
    expect(notes).toEqual(['prepare', 'step-up', 'handler'])
    door.open()
    expect(await Promise.all(both)).toEqual([
      { output: { n: 7 } },
      { output: { n: 7 }, replayed: true },
    ])
  })

  test('without a key leaves no record, and counts every time', async () => {
    const emitted = await cleared()
    const { notes, executor } = observed()
    const all = everyPart(notes)
    const ada = person()
    for (let n = 0; n < 2; n++) await executor.execute(all, callOf(ada))
    expect(notes).not.toContain('record')
    expect(await left('parts.', emitted)).toMatchObject({ events: 2, jobs: 2, records: 0 })
  })

  test('prepares once, though its handler runs again after a serialisation failure', async () => {
    const emitted = await cleared()
    const { notes, executor } = observed()
    let tries = 0
    const all = everyPart(notes, async ({ tx }) => {
      if (++tries < 3) await tx.sql`do $$ begin raise exception sqlstate '40001'; end $$`
    })
    const call = callOf(person(), {}, { key: 'again' })
    expect(await executor.execute(all, call)).toEqual({ output: { n: 7 } })
    const count = (part: string) => notes.filter((note) => note === part).length
    expect([count('prepare'), count('handler'), count('tell')]).toEqual([1, 3, 1])
    expect(await left('parts.', emitted)).toMatchObject({ events: 1, jobs: 1, records: 1 })
  })
})

/** What fails a write, after it has left all its effects. */
const FAILURES: [what: string, code: string, definition: object][] = [
  ['a refusal', 'conflict', { after: () => Promise.reject(new Failure('conflict')) }],
  ['a bug', 'internal', { after: () => Promise.reject(new Error('a bug')) }],
  ['an answer against the schema', 'internal', { after: async () => ({ n: 'seven' }) }],
]

describe.each(FAILURES)('%s', (what, code, { after }: { after?: () => Promise<never> }) => {
  test('leaves nothing behind: events, jobs, lines, record, whom to tell', async () => {
    const emitted = await cleared()
    const { executor } = observed()
    let told = 0
    let fails = true
    const failing = operation(`failing.${what.length}`, {
      ...common,
      idempotent: true,
      async handler(ctx) {
        leaveEffects(ctx, `failing.${code}`)
        ctx.afterCommit(() => void told++)
        return fails ? ((await after?.()) as never) : { n: 1 }
      },
    })
    const call = callOf(person(), {}, { key: 'failing' })
    const before = (await actions(`failing.${code}`)).length
    expect(await codeOf(() => executor.execute(failing, call))).toBe(code)
    const nothing = { events: 0, lines: before, jobs: 0, records: 0 }
    expect(await left(`failing.${code}`, emitted)).toEqual(nothing)
    expect(told).toBe(0)

    // Control: with the same key it goes through once it can, and then all of it is there.
    fails = false
    expect(await codeOf(() => executor.execute(failing, call))).toBe('ok')
    const all = { events: 1, lines: before + 1, jobs: 1, records: 1 }
    expect(await left(`failing.${code}`, emitted)).toEqual(all)
    expect(told).toBe(1)
  })
})

describe('a second factor', () => {
  const missing: StepUp = {
    require: async (_ctx, _operation, _input, token) => {
      if (token !== 'earned') throw new Failure('step_up_required')
    },
  }
  const handled: number[] = []
  const careful = operation('step_up.large', {
    ...common,
    idempotent: true,
    stepUp: (_ctx, { n }) => (n ?? 0) > 10,
    async handler(_ctx, { n = 0 }) {
      handled.push(n)
      return { n }
    },
  })

  test.each<[n: number, stepUp: string | undefined, code: string]>([
    [1, undefined, 'ok'],
    [11, undefined, 'step_up_required'],
    [11, 'guessed', 'step_up_required'],
    [11, 'earned', 'ok'],
  ])('of a call with %d and %p: %s', async (n, stepUp, code) => {
    const { executor } = observed(missing)
    handled.length = 0
    expect(await codeOf(() => executor.execute(careful, callOf(person(), { n }, { stepUp })))).toBe(
      code,
    )
    expect(handled).toEqual(code === 'ok' ? [n] : [])
  })
})

describe('a batch operation', () => {
  const sizes: number[] = []
  let failing = false
  async function batch(ctx: BatchContext, items: readonly BatchItem<{ n?: number }>[]) {
    sizes.push(items.length)
    return items.map(({ input: { n = 0 } }, index) => {
      ctx.emit(index, greeting)
      ctx.audit(index, { action: 'batch.done' })
      if (failing) return new Failure('conflict')
      return { n }
    })
  }
  const gathered = operation('batch.gathered', { ...common, batch })
  const guarded = operation('batch.guarded', { ...common, batch, stepUp: () => true })

  test('is gathered without a key; with one each call is a write of its own', async () => {
    const { executor } = observed()
    const ada = person()
    const callAll = async (keyOf: (n: number) => string | undefined) => {
      sizes.length = 0
      const calls = [1, 2, 3].map((n) =>
        executor.execute(gathered, callOf(ada, { n }, { key: keyOf(n) })),
      )
      return await Promise.all(calls)
    }
    expect((await callAll(() => undefined)).map(({ output }) => output)).toEqual([
      { n: 1 },
      { n: 2 },
      { n: 3 },
    ])
    expect(sizes).toEqual([3])
    await callAll((n) => `gathered ${n}`)
    expect(sizes).toEqual([1, 1, 1])
    expect((await callAll((n) => `gathered ${n}`)).every(({ replayed }) => replayed)).toBe(true)
    expect(sizes).toEqual([])
  })

  test('with a second factor asks for it, keyed or not, but not for a replay', async () => {
    const { notes, executor } = observed()
    const ada = person()
    const call = (key?: string) => executor.execute(guarded, callOf(ada, { n: 1 }, { key }))
    await call()
    await call('guarded')
    expect(notes).toEqual(['step-up', 'step-up'])
    expect(await call('guarded')).toEqual({ output: { n: 1 }, replayed: true })
    expect(notes).toHaveLength(2)
  })

  test('throws the failure of a keyed item, and keeps nothing under its key', async () => {
    const { executor } = observed()
    const call = callOf(person(), { n: 1 }, { key: 'failed item' })
    failing = true
    const emitted = await cleared()
    const lines = (await actions('batch.')).length
    try {
      expect(await settled(() => executor.execute(gathered, call))).toMatchObject({
        code: 'conflict',
      })
    } finally {
      failing = false
    }
    expect(await left('batch.', emitted)).toEqual({ events: 0, lines, jobs: 0, records: 0 })
    expect(await executor.execute(gathered, call)).toEqual({ output: { n: 1 } })
    expect(await left('batch.', emitted)).toEqual({
      events: 1,
      lines: lines + 1,
      jobs: 0,
      records: 1,
    })
  })

  test('that has committed is not run again because somebody cannot be told', async () => {
    let runs = 0
    const deaf = operation('batch.deaf', {
      ...common,
      async batch(ctx, items) {
        runs++
        ctx.afterCommit(() => {
          throw new Error('deaf')
        })
        return items.map(() => ({ n: 1 }))
      },
    })
    const { executor } = observed()
    const codes = [1, 2].map(() => codeOf(() => executor.execute(deaf, callOf(person()))))
    expect([await Promise.all(codes), runs]).toEqual([['ok', 'ok'], 1])
  })

  test('of which one answer is wrong commits the others, and that one not', async () => {
    const emitted = await cleared()
    const half = operation('batch.half', {
      ...common,
      batch: async (ctx, items) =>
        items.map(({ input: { n = 0 } }, index) => {
          ctx.emit(index, greeting)
          return { n: n === 2 ? ('two' as never) : n }
        }),
    })
    const { executor } = observed()
    const codes = [1, 2, 3].map((n) =>
      codeOf(() => executor.execute(half, callOf(person(), { n }))),
    )
    expect(await Promise.all(codes)).toEqual(['ok', 'internal', 'ok'])
    expect(world.emitted.length - emitted).toBe(2)
  })
})
