import { afterAll, beforeAll, describe, expect, spyOn, test } from 'bun:test'
import { testClock } from '../../src/base/clock.ts'
import { Failure } from '../../src/base/errors.ts'
import { input, t } from '../../src/base/schema.ts'
import { type Access, anyone, apiKey, type Caller, user } from '../../src/kernel/access.ts'
import { OperationExecutor } from '../../src/kernel/execute.ts'
import { LIMITS } from '../../src/kernel/limits.ts'
import { type Operation, operation } from '../../src/kernel/operation.ts'
import { auditTrail } from '../support/audit.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { until } from '../support/wait.ts'
import { apiKeyOf, callOf, codeOf, gate, person, settled } from './callers.ts'

let world: TestKernel
beforeAll(async () => {
  world = await testKernel({ features: [], env: { RATE_LIMITS: 'off' } })
})
afterAll(async () => {
  await world.executor.idle()
  await world.close()
})

const common = { summary: 'A sample', limit: 'write', input: input({}) } as const
const Who = t.Object({ who: t.String() })
const nameOf = ({ actor }: { actor: Caller | null }) => ({
  who: actor === null ? 'nobody' : actor.kind,
})

const FORMS = {
  'immediate, at once': { immediate: nameOf },
  'immediate, later': { immediate: async (ctx: { actor: Caller | null }) => nameOf(ctx) },
  run: { run: async (ctx: { actor: Caller | null }) => nameOf(ctx) },
  handler: { handler: async (ctx: { actor: Caller | null }) => nameOf(ctx) },
  batch: {
    batch: async (_ctx: unknown, items: readonly { actor: Caller | null }[]) => items.map(nameOf),
  },
}

const ACCESS = {
  anyone: anyone(),
  user: user(),
  creator: user({ roles: ['creator'] }),
  admin: user({ roles: ['admin'] }),
  'user or scope': user({ scope: 'users:read' }),
  scope: apiKey('users:read'),
} as const satisfies Record<string, Access>

const CALLERS = {
  nobody: null,
  user: person(),
  creator: person(['user', 'creator']),
  'admin without a second factor': person(['user', 'admin']),
  'admin with a second factor': person(['user', 'admin'], true),
  'key with the scope': apiKeyOf(['audit:read', 'users:read']),
  'key without the scope': apiKeyOf(['users:write']),
}

const [NOT_YOU, WHO, MFA] = ['forbidden', 'unauthenticated', 'mfa_required']

/** Who may what: one row an access, one column a caller, in the order of `CALLERS`. */
const MAY: Record<keyof typeof ACCESS, readonly string[]> = {
  anyone: ['ok', 'ok', 'ok', 'ok', 'ok', 'ok', 'ok'],
  user: [WHO, 'ok', 'ok', 'ok', 'ok', NOT_YOU, NOT_YOU],
  creator: [WHO, NOT_YOU, 'ok', NOT_YOU, NOT_YOU, NOT_YOU, NOT_YOU],
  admin: [WHO, NOT_YOU, NOT_YOU, MFA, 'ok', NOT_YOU, NOT_YOU],
  'user or scope': [WHO, 'ok', 'ok', 'ok', 'ok', 'ok', NOT_YOU],
  scope: [WHO, NOT_YOU, NOT_YOU, NOT_YOU, NOT_YOU, 'ok', NOT_YOU],
} as Record<keyof typeof ACCESS, readonly string[]>

const sample = (name: string, definition: object): Operation =>
  operation(name, { ...common, access: user(), output: Who, ...definition } as never)

const batches = ['user', 'creator', 'admin']
const cases = Object.entries(FORMS).flatMap(([form, definition]) =>
  Object.entries(ACCESS)
    .filter(([access]) => form !== 'batch' || batches.includes(access))
    .map(([access, rule]) => ({ form, access, rule, definition })),
)

describe.each(cases)('$form, for $access', ({ form, access, rule, definition }) => {
  const asked = sample(`who.${form}.${access}`, { ...definition, access: rule })
  const row = MAY[access as keyof typeof ACCESS]

  test.each(Object.keys(CALLERS).map((who, n) => [who, row[n] as string] as const))(
    '%s: %s',
    async (who, expected) => {
      const actor = CALLERS[who as keyof typeof CALLERS]
      const outcome = await settled(() => world.executor.execute(asked, callOf(actor)))
      expect(outcome instanceof Failure ? outcome.code : 'ok').toBe(expected)
      if (outcome instanceof Failure) return
      // What anybody may ask a service asks as nobody: handlers there know users alone.
      const known = access === 'anyone' && actor?.kind === 'service' ? undefined : actor?.kind
      expect(outcome.output).toEqual({ who: known ?? 'nobody' })
    },
  )
})

test.each(Object.entries(ACCESS).filter(([access]) => !batches.includes(access)))(
  'a batch for %s cannot be declared',
  (_, access) => {
    expect(() => sample('batch.for_services', { ...FORMS.batch, access })).toThrow('users alone')
  },
)

describe('what comes first', () => {
  const strict = { input: input({ name: t.String() }), immediate: nameOf, limit: 'identity' }
  const { burst } = LIMITS.identity

  test('access, then the limit, then the input', async () => {
    const limited = await testKernel({
      features: [],
      clock: testClock(),
      database: world.database,
    })
    const { executor } = limited
    const creators = sample('first.access', { ...strict, access: ACCESS.creator })
    const ada = person(['creator'])
    const stranger = person()
    const call = (actor: Caller) => settled(() => executor.execute(creators, callOf(actor, {})))
    for (let n = 0; n < burst; n++) {
      expect(await call(ada)).toMatchObject({ code: 'validation_failed' })
    }
    expect(await call(ada)).toMatchObject({
      code: 'rate_limited',
      limit: 'identity',
      retryAfterMs: 1000 / LIMITS.identity.perSecond,
    })
    // Who may not ask at all hears so, however often, and neither of limits nor of fields.
    for (let n = 0; n < burst + 5; n++) {
      expect(await call(stranger)).toMatchObject({ code: 'forbidden', errors: undefined })
    }
    await executor.idle()
    await limited.close()
  })

  test.each<[what: string, key: unknown, code: string]>([
    ['printable', 'a key, with spaces', 'ok'],
    ['as long as it may be', 'k'.repeat(255), 'ok'],
    ['empty', '', 'validation_failed'],
    ['too long', 'k'.repeat(256), 'validation_failed'],
    ['with a space at its end', 'key ', 'validation_failed'],
    ['with a line break', 'a\nb', 'validation_failed'],
    ['not a text', 7, 'validation_failed'],
  ])('a key that is %s, also where keys change nothing', async (_, key, code) => {
    const call = callOf(person(), {}, { key: key as string })
    const asked = sample('first.key', { immediate: nameOf })
    expect(await codeOf(() => world.executor.execute(asked, call))).toBe(code)
  })
})

describe('an immediate operation', () => {
  const execute = (immediate: () => unknown, output: object = Who) =>
    world.executor.execute(sample('at_once', { immediate, output }), callOf(person()))

  test('answers without a promise', () => {
    expect(execute(() => ({ who: 'ada' }))).toEqual({ output: { who: 'ada' } })
  })

  test('throws without a promise, for every reason', () => {
    const refuse = () => {
      throw new Failure('conflict', 'Not now')
    }
    expect(() => execute(refuse)).toThrow('Not now')
    const creators = sample('at_once.creators', { immediate: nameOf, access: ACCESS.creator })
    expect(() => world.executor.execute(creators, callOf(null))).toThrow('Sign in first')
    const named = sample('at_once.named', { immediate: nameOf, input: input({ n: t.Number() }) })
    expect(() => world.executor.execute(named, callOf(person()))).toThrow('Invalid input')
    expect(() => execute(() => ({ who: 1 }))).toThrow('Internal error')
  })
})

const BUG = 'secret text of a bug'
const bug = () => {
  throw new Error(BUG)
}
const FAILING: Record<string, object> = {
  'immediate, at once': { immediate: bug },
  'immediate, later': { immediate: async () => bug() },
  run: { run: async () => bug() },
  handler: { handler: async () => bug() },
  batch: { batch: async () => bug() },
}

describe.each(Object.entries(FAILING))('a bug of %s', (form, definition) => {
  test('is logged with operation and request, and answered without its text', async () => {
    const asked = sample(`bug.${form}`, definition)
    const outcome = await settled(() => world.executor.execute(asked, callOf(person())))
    const { code, message, cause } = outcome as Failure
    expect([code, message, cause]).toEqual([
      'internal',
      'Internal error; request request-1',
      undefined,
    ])
    expect(world.log.entries.at(-1)).toMatchObject({
      level: 'error',
      message: 'operation failed',
      fields: { operation: asked.name, request_id: 'request-1', error: new Error(BUG) },
    })
  })
})

const WRONG: Record<string, object> = {
  'immediate, at once': { immediate: () => ({ who: 7 }) },
  'immediate, later': { immediate: async () => ({ who: 7 }) },
  run: { run: async () => ({ who: 7 }) },
  handler: { handler: async () => ({ who: 7 }) },
  batch: { batch: async (_: unknown, items: unknown[]) => items.map(() => ({ who: 7 })) },
}

describe.each(Object.entries(WRONG))('a wrong answer of %s', (form, definition) => {
  const asked = sample(`wrong.${form}`, definition)

  test.each([
    [true, 'internal'],
    [false, 'ok'],
  ])('where answers are checked (%s): %s', async (checksOutputs, code) => {
    const stepUp = { require: async () => undefined }
    const executor = new OperationExecutor(world.kernel, { stepUp, checksOutputs })
    expect(await codeOf(() => executor.execute(asked, callOf(person())))).toBe(code)
  })
})

describe('idle', () => {
  test('is at once where nothing runs', async () => {
    await world.executor.idle()
    expect(await world.executor.idle()).toBeUndefined()
  })

  test('comes when the last of several has ended, well or not', async () => {
    const doors = [gate(), gate()]
    const waits = sample('idle.waits', {
      input: input({ n: t.Integer() }),
      run: async (_: unknown, { n }: { n: number }) => {
        await doors[n]?.passed
        if (n === 1) throw new Failure('conflict')
        return { who: 'ada' }
      },
    })
    const running = doors.map((_, n) =>
      codeOf(() => world.executor.execute(waits, callOf(person(), { n }))),
    )
    let idle = false
    const waiting = world.executor.idle().then(() => (idle = true))
    doors[0]?.open()
    expect(await running[0]).toBe('ok')
    await Bun.sleep(1)
    expect(idle).toBe(false)
    doors[1]?.open()
    expect(await running[1]).toBe('conflict')
    await waiting
  })
})

describe('a refusal', () => {
  const creators = sample('refused.creators', { immediate: nameOf, access: ACCESS.creator })
  const refuse = (actor: Caller | null) =>
    codeOf(() => world.executor.execute(creators, callOf(actor)))
  const linesAbout = async (id: string) =>
    (await auditTrail(world, 'access.denied')).filter(({ actor_id }) => actor_id === id)

  test('is in the audit log, with who was refused what', async () => {
    const eve = person()
    expect(await refuse(eve)).toBe('forbidden')
    await world.executor.idle()
    expect(await linesAbout(eve.userId)).toMatchObject([
      {
        outcome: 'denied',
        target_type: 'operation',
        target_id: 'refused.creators',
        after: { code: 'forbidden' },
        request_id: 'request-1',
      },
    ])
  })

  test('does not wait for its line, but idle does', async () => {
    const door = gate()
    const record = spyOn(world.kernel.audit, 'record').mockImplementation(() => door.passed)
    try {
      expect(await refuse(person())).toBe('forbidden')
      let idle = false
      const waiting = world.executor.idle().then(() => (idle = true))
      await Bun.sleep(1)
      expect([record.mock.calls.length, idle]).toEqual([1, false])
      door.open()
      await waiting
    } finally {
      record.mockRestore()
    }
  })

  test('is answered also when nobody can write it down', async () => {
    const record = spyOn(world.kernel.audit, 'record').mockRejectedValue(new Error('no database'))
    try {
      expect(await refuse(person())).toBe('forbidden')
      await world.executor.idle()
    } finally {
      record.mockRestore()
    }
    expect(world.log.entries.at(-1)).toMatchObject({
      message: 'refusal not in the audit log',
      fields: { operation: 'refused.creators' },
    })
  })

  test('writes no more lines about one caller than its limit', async () => {
    const eve = person()
    for (let n = 0; n < LIMITS.refusal.burst + 5; n++) expect(await refuse(eve)).toBe('forbidden')
    await world.executor.idle()
    expect(await linesAbout(eve.userId)).toHaveLength(LIMITS.refusal.burst)
  })

  test('of whoever is not signed in leaves no line', async () => {
    const before = await auditTrail(world, 'access.denied')
    expect(await refuse(null)).toBe('unauthenticated')
    await world.executor.idle()
    expect(await auditTrail(world, 'access.denied')).toHaveLength(before.length)
  })
})

test('how long each took is counted by its outcome', async () => {
  const timed = sample('timed', { immediate: nameOf, access: ACCESS.creator })
  await codeOf(() => world.executor.execute(timed, callOf(person(['creator']))))
  await codeOf(() => world.executor.execute(timed, callOf(null)))
  await until(() => world.kernel.metrics.render().includes('operation="timed"'), 'counted')
  const counts = world.kernel.metrics
    .render()
    .split('\n')
    .filter((line) => line.startsWith('operation_duration_seconds_count{operation="timed"'))
  expect(counts).toEqual([
    'operation_duration_seconds_count{operation="timed",outcome="ok"} 1',
    'operation_duration_seconds_count{operation="timed",outcome="unauthenticated"} 1',
  ])
})
