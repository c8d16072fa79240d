import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { auditFeature } from '../../src/audit/index.ts'
import { Sealer } from '../../src/audit/sealer.ts'
import type { JsonObject } from '../../src/kernel/effects.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { budget } from '../support/budget.ts'
import { type TestKernel, testKernel } from '../support/kernel.ts'
import { ownPostgres } from '../support/postgres.ts'
import { until } from '../support/wait.ts'
import { asOwner, found, lineAbout, request, verify } from './setup.ts'

/** Every committed line is sealed, within a second, once, whatever happens to who seals it. */

const SEALED_MS_MAX = 1_000
const ADA = '0198a000-0000-7000-8000-00000000ada0'

let t: TestKernel
beforeEach(async () => {
  t = await testKernel({ features: [auditFeature] })
})
afterEach(() => t.close())

const sealedOf = async ({ kernel }: Pick<TestKernel, 'kernel'>) => {
  const [row] = await kernel.db.sql`
    select count(*)::int as lines, count(distinct position)::int as positions,
      coalesce(min(position), 1)::int as first, coalesce(max(position), 0)::int as last,
      count(distinct target_id)::int as things, (select count(*)::int from audit_pending) as waiting
    from audit_log where action = 'tests.written'`
  return row as Record<'lines' | 'positions' | 'first' | 'last' | 'things' | 'waiting', number>
}

/** `count` lines, by `things` ones, each once and without a gap between their places. */
async function expectSealed(of: Pick<TestKernel, 'kernel'>, count: number): Promise<void> {
  const sealed = await sealedOf(of)
  expect(sealed).toEqual({
    lines: count,
    positions: count,
    things: count,
    waiting: 0,
    first: 1,
    last: count,
  })
  expect(found(await verify(of.kernel))).toEqual([])
}

/** An act that writes line `n` in its transaction. */
async function act(
  { kernel }: Pick<TestKernel, 'kernel'>,
  n: number,
  before: () => Promise<unknown> = () => Promise.resolve(),
): Promise<void> {
  await unitOfWork(kernel, { actor: null, request }, async (ctx) => {
    ctx.audit(lineAbout(ADA, n))
    await before()
  })
}

test('a line is sealed within a second of its commit', async () => {
  const stop = await t.kernel.use(Sealer).start()
  for (let n = 1; n <= 5; n++) {
    await act(t, n)
    const ms = await until(async () => (await sealedOf(t)).lines === n, 'sealed')
    expect(ms).toBeLessThan(SEALED_MS_MAX)
    await Bun.sleep(100)
  }
  await stop()
  await expectSealed(t, 5)
})

test('a line commits with its act, or not at all', async () => {
  const refused = act(t, 1, () => Promise.reject(new Error('as you wished')))
  await expect(refused).rejects.toThrow('as you wished')
  expect((await t.kernel.db.sql`select 1 from audit_pending`).length).toBe(0)
})

test('an act whose line cannot be written does not commit', async () => {
  const unwritable = unitOfWork(t.kernel, { actor: null, request }, async (ctx) => {
    await ctx.tx.sql`insert into last_seen (user_id, at) select id, now() from users`
    ctx.audit({ ...lineAbout(ADA), after: { amount: 1n } as unknown as JsonObject })
  })
  await expect(unwritable).rejects.toThrow('BigInt')
  // The statement itself fails, which travels with the commit.
  const failing = unitOfWork(t.kernel, { actor: null, request }, (ctx) => {
    ctx.tx.withCommit(ctx.tx.sql`select 1 / 0`.execute())
    return Promise.resolve()
  })
  await expect(failing).rejects.toThrow('division by zero')
  expect((await t.kernel.db.sql`select 1 from audit_pending`).length).toBe(0)
})

test('a transaction that commits late is sealed late, and holds up nobody', async () => {
  const stop = await t.kernel.use(Sealer).start()
  // Inserts first and commits last: lines travel with the commit, so it is written by hand.
  const late = t.kernel.db.transaction(async ({ sql }) => {
    await t.kernel.audit.insert(sql, [lineAbout(ADA, 1)])
    await Bun.sleep(3_000)
  })
  await Bun.sleep(100)
  for (let n = 2; n <= 11; n++) await act(t, n)
  const ms = await until(async () => (await sealedOf(t)).lines === 10, 'the others are sealed')
  expect(ms).toBeLessThan(SEALED_MS_MAX)
  const [{ number: newest }] = await asOwner(
    t.database.ownerUrl,
    (sql) => sql`select last_value::int as number from audit_pending_number_seq`,
  )
  await late
  // The control: a cursor stands at the newest line that was read by now, and never looks back.
  const [{ number }] = await t.kernel.db.sql`select min(number)::int as number from audit_pending`
  expect(number).toBeLessThan(newest)
  await until(async () => (await sealedOf(t)).lines === 11, 'the late one is sealed', 2_000)
  await stop()
  await expectSealed(t, 11)
})

test('two instances that seal at once make one chain', async () => {
  const other = await testKernel({ features: [auditFeature], database: t.database })
  const stops = [await t.kernel.use(Sealer).start(), await other.kernel.use(Sealer).start()]
  const count = budget(400, 20_000)
  let n = 0
  const write = async (at: TestKernel) => {
    while (n < count) await act(at, ++n)
  }
  await Promise.all([t, other, t, other, t, other].map(write))
  const waits = async () => (await sealedOf(t)).waiting > 0
  await until(async () => !(await waits()), 'everything is sealed', 5_000)
  for (const stop of stops) await stop()
  await other.close()
  // Six writers may each have taken one number more.
  await expectSealed(t, n)
  const errors = [...t.log.entries, ...other.log.entries].filter(({ level }) => level === 'error')
  expect(errors).toEqual([])
})

describe('whatever is written', () => {
  const odd = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('\0', '\ud800', '\\u0000'))
  const json = fc.dictionary(odd, fc.jsonValue({ stringUnit: 'binary' }))
  const line = fc.record({
    actorId: odd,
    target: fc.record({ type: odd, id: odd }),
    before: fc.option(json),
    after: fc.option(json),
    personal: fc.option(json),
    subjectId: odd,
    caller: fc.constant(null),
    request: fc.record({
      id: odd,
      transport: fc.constant('rest' as const),
      address: odd,
      userAgent: odd,
      connectionId: fc.constant(undefined),
    }),
  })

  test('is stored, and is what was sealed when it is read again', async () => {
    const runs = fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 20 }), async (some) => {
      const lines = some.map(({ before, after, personal, ...rest }) => ({
        ...rest,
        action: 'tests.odd',
        ...(before && { before: before as JsonObject }),
        ...(after && { after: after as JsonObject }),
        ...(personal && { personal: personal as JsonObject }),
      }))
      // Both ways of writing.
      await t.kernel.audit.insert(t.kernel.db.sql, lines)
      await t.kernel.audit.insert(t.kernel.db.sql, lines.slice(0, 1))
      await t.kernel.use(Sealer).seal()
      expect(found(await verify(t.kernel))).toEqual([])
    })
    await fc.assert(runs, { numRuns: budget(20, 300) })
    expect((await t.kernel.db.sql`select 1 from audit_pending`).length).toBe(0)
  })
})

describe('an instance', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rialto-sealing-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  async function startElsewhere() {
    const script = join(import.meta.dir, '..', 'support', 'server-process.ts')
    const child = Bun.spawn([process.execPath, '--no-env-file', script, t.database.ownerUrl], {
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    for await (const _ of child.stdout) return child
    throw new Error('the server said nothing')
  }

  test('that is killed while it seals loses nothing, and another goes on', async () => {
    let n = 0
    for (let kill = 0; kill < budget(2, 20); kill++) {
      const child = await startElsewhere()
      const endMs = performance.now() + 800 + 37 * kill
      // Written here, where nobody seals: it is the other one's work.
      while (performance.now() < endMs) {
        // As many as are sealed in that time; a backlog would only be waited for in the end.
        const lines = Array.from({ length: 10 }, () => lineAbout(ADA, ++n))
        await t.kernel.audit.insert(t.kernel.db.sql, lines)
      }
      child.kill('SIGKILL')
      await child.exited
    }
    // It had begun.
    expect((await sealedOf(t)).lines).toBeGreaterThan(0)
    await t.kernel.use(Sealer).seal()
    await expectSealed(t, n)
  }, 60_000)

  test('that stands still holds up nobody', async () => {
    const child = await startElsewhere()
    await act(t, 1)
    child.kill('SIGSTOP')
    const stop = await t.kernel.use(Sealer).start()
    for (let n = 2; n <= 20; n++) await act(t, n)
    const ms = await until(async () => (await sealedOf(t)).lines === 20, 'sealed by the other')
    expect(ms).toBeLessThan(SEALED_MS_MAX)
    await stop()
    child.kill('SIGKILL')
    await child.exited
    await expectSealed(t, 20)
  }, 60_000)
})

test('a database that crashes and comes back is sealed again', async () => {
  const postgres = await ownPostgres()
  try {
    const own = await testKernel({
      features: [auditFeature],
      database: await postgres.database(),
    })
    const stop = await own.kernel.use(Sealer).start()
    let n = 0
    for (; n < 200;) await act(own, ++n)
    await postgres.end('SIGKILL')
    await Bun.sleep(700)
    await postgres.start()
    for (; n < 400;) await act(own, ++n)
    await until(async () => (await sealedOf(own)).lines === n, 'sealed again', 5_000)
    await stop()
    await expectSealed(own, n)
    await own.close()
  } finally {
    await postgres.remove()
  }
}, 60_000)

test('what is not sealed for long is an alarm', async () => {
  await t.kernel.audit.insert(t.kernel.db.sql, [lineAbout(ADA, 1)])
  const { clock, db } = t.kernel
  const broken = {
    ...t.kernel,
    clock: { ...clock, now: () => clock.now() + 60_000 },
    db: { ...db, sql: failing(db.sql, 'rialto_seal_audit') },
  }
  const stop = await Sealer.create(broken).start()
  const alarm = () => t.log.entries.find(({ message }) => message.includes('wait to be sealed'))
  await until(() => alarm() !== undefined, 'the alarm', 3_000)
  expect(alarm()?.level).toBe('error')
  expect(t.kernel.metrics.render()).toContain('audit_unsealed_lines 1')
  await stop()
})

/** A client whose statements fail where they hold `text`. */
function failing<T extends object>(sql: T, text: string): T {
  return new Proxy(sql, {
    apply(target, _self, given: [TemplateStringsArray, ...unknown[]]) {
      if (given[0].join('').includes(text)) return Promise.reject(new Error('no sealing today'))
      return (target as unknown as (...given: unknown[]) => unknown)(...given)
    },
  })
}

test('a line that cannot be sealed is an alarm, and holds up no other', async () => {
  for (let n = 1; n <= 40; n++) {
    await act(t, n)
    // Only somebody who writes to the table by hand can do this: what we write is checked above.
    if (n % 13 !== 0) continue
    await t.kernel.db.sql`insert into audit_pending (line) values ('{"id":"\\ud800"}')`
    await t.kernel.db.sql`insert into audit_pending (line) values ('no JSON')`
  }
  await t.kernel.use(Sealer).seal()
  expect(await sealedOf(t)).toMatchObject({ lines: 40, waiting: 6 })
  expect(found(await verify(t.kernel))).toEqual([])
  const alarms = t.log.entries.filter(({ message }) => message.includes('cannot be sealed'))
  expect(alarms.length).toBe(6)
  expect(t.kernel.metrics.render()).toContain('audit_unsealed_lines 6')
})

test('a clock that runs ahead does not take the chain along', async () => {
  const { clock } = t.kernel
  const ahead = { ...t.kernel, clock: { ...clock, now: () => clock.now() + 365 * 86_400_000 } }
  await act(t, 1)
  await Sealer.create(ahead).seal()
  const [head] = await t.kernel.db.sql`select sealed_at from audit_head`
  expect(head.sealed_at.getTime()).toBeLessThanOrEqual(Date.now())
  await expectSealed(t, 1)
})

test('a full disk is an alarm about checkpoints, and lines are still sealed', async () => {
  const audit = { value: { checkpointDirs: ['/dev/null/audit'] } }
  const config = Object.create(t.kernel.config, { audit }) as typeof t.kernel.config
  const sealer = Sealer.create({ ...t.kernel, config })
  await act(t, 1)
  await sealer.seal()
  await sealer.checkpoint()
  const alarms = t.log.entries.filter(({ level }) => level === 'error')
  expect(alarms.map(({ message }) => message)).toEqual([
    'audit checkpoint not written to its folder',
  ])
  expect(t.kernel.metrics.render()).toContain('audit_checkpoints_total{outcome="failed"} 1')
  await expectSealed(t, 1)
})
