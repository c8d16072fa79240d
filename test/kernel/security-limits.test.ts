import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { forgetLimits } from '../../jobs/forget-limits.ts'
import { Failure } from '../../src/base/errors.ts'
import { LIMITS, type SecurityLimitName } from '../../src/kernel/limits.ts'
import { SecurityLimits } from '../../src/kernel/security-limits.ts'
import { type TestKernel, testKernel } from '../support/kernel.ts'

/** The limits that security rests on, on the real database. */

const NAME = 'login_account'
const { burst, perSecond } = LIMITS[NAME]
const INTERVAL_MS = 1000 / perSecond

let here: TestKernel
/** A second instance of the same product. */
let there: TestKernel
beforeAll(async () => {
  here = await testKernel({ features: [] })
  there = await testKernel({ features: [], database: here.database })
})
afterAll(async () => {
  await there.close()
  await here.close()
})

const limits = (of = here) => of.kernel.use(SecurityLimits)
let count = 0
const somebody = () => `somebody ${++count}`

/** What became of taking one: `ok`, or the code and the wait. */
async function attempt(subject: string, of = here, name: SecurityLimitName = NAME) {
  try {
    await limits(of).take(name, subject)
    return { code: 'ok', waitMs: 0, limit: undefined }
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return { code: error.code, waitMs: error.retryAfterMs ?? 0, limit: error.limit }
  }
}
const allowed = (outcomes: { code: string }[]) =>
  outcomes.filter(({ code }) => code === 'ok').length

/** Lets time pass for what was counted. */
const pass = (ms: number) =>
  here.database.db.sql`
    update security_limits set empty_at = empty_at - ${ms}::float8 * interval '1 millisecond'`

describe('a security limit', () => {
  test('lets its burst through, then says when to come back', async () => {
    const who = somebody()
    for (let i = 0; i < burst; i++) expect(await attempt(who)).toMatchObject({ code: 'ok' })
    const refused = await attempt(who)
    expect(refused).toMatchObject({ code: 'rate_limited', limit: NAME })
    expect(refused.waitMs).toBeGreaterThan(INTERVAL_MS - 5_000)
    expect(refused.waitMs).toBeLessThanOrEqual(INTERVAL_MS)
  })

  test('refills one at a time; those refused do not make it longer', async () => {
    const who = somebody()
    for (let i = 0; i < burst + 20; i++) await attempt(who)
    const { waitMs } = await attempt(who)
    await pass(waitMs - 2_000)
    expect((await attempt(who)).code).toBe('rate_limited')
    await pass(2_000)
    expect((await attempt(who)).code).toBe('ok')
    expect((await attempt(who)).code).toBe('rate_limited')
    await pass(burst * INTERVAL_MS)
    const again = []
    for (let i = 0; i < burst + 1; i++) again.push(await attempt(who))
    expect(allowed(again)).toBe(burst)
  })

  test('counts exactly when fifty come at once, on two instances', async () => {
    for (let round = 0; round < 5; round++) {
      const who = somebody()
      const outcomes = await Promise.all(
        Array.from({ length: 50 }, (_, i) => attempt(who, i % 2 === 0 ? here : there)),
      )
      expect(allowed(outcomes)).toBe(burst)
      expect(outcomes.filter(({ waitMs }) => waitMs > INTERVAL_MS)).toEqual([])
    }
  })

  test('control: reading, deciding and writing lets more of fifty through', async () => {
    const { sql } = here.database.db
    const name = `naive ${somebody()}`
    const subject = Buffer.from(name)
    const naive = async () => {
      const [row] = await sql`
        select extract(epoch from empty_at - now())::float8 as ahead_s from security_limits
        where name = ${name} and subject = ${subject}`
      if ((row?.ahead_s ?? 0) > burst - 1) return { code: 'rate_limited' }
      await sql`
        insert into security_limits values (${name}, ${subject}, now() + interval '1 second')
        on conflict (name, subject) do update
        set empty_at = security_limits.empty_at + interval '1 second'`
      return { code: 'ok' }
    }
    expect(allowed(await Promise.all(Array.from({ length: 50 }, naive)))).toBeGreaterThan(burst)
  })

  test('keeps one from another, and one limit from another', async () => {
    const [one, two] = [somebody(), somebody()]
    for (let i = 0; i < burst; i++) await attempt(one)
    expect((await attempt(one)).code).toBe('rate_limited')
    expect((await attempt(two)).code).toBe('ok')
    expect((await attempt(one, here, 'login_address')).code).toBe('ok')
  })

  test('survives a restart of the server', async () => {
    const who = somebody()
    for (let i = 0; i < burst; i++) await attempt(who)
    const restarted = await testKernel({ features: [], database: here.database })
    expect((await attempt(who, restarted)).code).toBe('rate_limited')
    await restarted.close()
  })

  test('is peeked at without counting, given back and reset', async () => {
    const who = somebody()
    for (let i = 0; i < 3; i++) expect(await limits().peek(NAME, who)).toBe(0)
    for (let i = 0; i < burst; i++) await attempt(who)
    const wait = await limits(there).peek(NAME, who)
    expect(wait).toBeGreaterThan(INTERVAL_MS - 5_000)
    await limits().giveBack(NAME, who)
    expect((await attempt(who)).code).toBe('ok')
    expect((await attempt(who)).code).toBe('rate_limited')
    await limits(there).reset(NAME, who)
    expect(await limits().peek(NAME, who)).toBe(0)
    // Of nobody there is nothing to give back.
    await limits().giveBack(NAME, somebody())
  })

  test('gives no more than the burst back', async () => {
    const who = somebody()
    await attempt(who)
    for (let i = 0; i < 5; i++) await limits().giveBack(NAME, who)
    const outcomes = []
    for (let i = 0; i < burst + 3; i++) outcomes.push(await attempt(who))
    expect(allowed(outcomes)).toBe(burst)
  })

  test('stores neither names nor addresses', async () => {
    await attempt('ada@example.org')
    const rows = await here.database.db.sql`select * from security_limits`
    expect(rows.length).toBeGreaterThan(0)
    for (const { name, subject } of rows as { name: string; subject: Uint8Array }[]) {
      if (name.startsWith('naive')) continue
      expect(subject.byteLength).toBe(32)
      expect(Buffer.from(subject).toString('latin1')).not.toContain('ada')
    }
  })

  test('is not counted where limits are off, as in most tests', async () => {
    const off = await testKernel({
      features: [],
      database: here.database,
      env: { RATE_LIMITS: 'off' },
    })
    const who = somebody()
    for (let i = 0; i < burst * 2; i++) expect((await attempt(who, off)).code).toBe('ok')
    await off.close()
  })
})

describe('fails closed', () => {
  test('when the database refuses, nobody gets past', async () => {
    const broken = await testKernel({ features: [] })
    const { sql } = broken.database.db
    // The owner takes the table away: any error that is not of the connection.
    const owner = new Bun.SQL({ url: broken.database.ownerUrl, max: 1 })
    await owner`alter table security_limits rename to gone`
    try {
      const outcomes = await Promise.all(Array.from({ length: 5 }, () => attempt('x', broken)))
      expect(outcomes.map(({ code }) => code)).toEqual(Array(5).fill('unavailable'))
      expect(outcomes[0]?.waitMs).toBe(1_000)
      const logged = broken.log.entries.filter(({ level }) => level === 'error')
      expect(logged[0]).toMatchObject({ fields: { limit: NAME } })
      await owner`alter table gone rename to security_limits`
      expect((await attempt('x', broken)).code).toBe('ok')
      expect(await sql`select from security_limits`).toHaveLength(1)
    } finally {
      await owner.close()
      await broken.close()
    }
  })
})

describe('the job', () => {
  test('removes what has run out, and nothing that still counts', async () => {
    const { sql } = here.database.db
    await sql`delete from security_limits`
    const [old, young] = [somebody(), somebody()]
    await attempt(old)
    await pass(INTERVAL_MS + 2 * 3_600_000)
    for (let i = 0; i < burst; i++) await attempt(young)
    expect(await forgetLimits.dryRun(here.kernel)).toEqual({ security_limits: 1 })
    expect(await forgetLimits.run(here.kernel)).toEqual({ security_limits: 1 })
    expect((await attempt(young)).code).toBe('rate_limited')
    expect(await forgetLimits.run(here.kernel)).toEqual({ security_limits: 0 })
  })
})
