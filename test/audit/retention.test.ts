import { afterEach, beforeEach, expect, test } from 'bun:test'
import { auditFeature, forgetStrangers, rotateAudit } from '../../src/audit/index.ts'
import { Sealer } from '../../src/audit/sealer.ts'
import { testClock } from '../../src/base/clock.ts'
import { type TestKernel, testKernel } from '../support/kernel.ts'
import { asOwner, found, lineAbout, verify, writeLines } from './setup.ts'

/** Seven years of months: made ahead, dropped when they are over, with the chain still whole. */

const ADA = '0198a000-0000-7000-8000-00000000ada0'
const DAY_MS = 86_400_000
/** In a month that ended more than seven years ago. The database goes by its own time. */
const longAgoMs = () => {
  const date = new Date()
  return Date.UTC(date.getUTCFullYear() - 7, date.getUTCMonth() - 3, 15)
}

let t: TestKernel
let clock: ReturnType<typeof testClock>
beforeEach(async () => {
  clock = testClock(longAgoMs())
  t = await testKernel({ features: [auditFeature], clock })
})
afterEach(() => t.close())

const owner = <T>(statement: string) =>
  asOwner(t.database.ownerUrl, (sql) => sql.unsafe(statement)) as Promise<T[]>
const months = async () => {
  const rows = await owner<{ name: string }>(`
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'audit_log'::regclass and c.relname <> 'audit_log_default' order by 1`)
  return rows.map(({ name }) => name.slice('audit_log_'.length))
}
const monthOf = (ms: number) => new Date(ms).toISOString().slice(0, 7).replace('-', '')

/** Three months of lines, ten a month, then ten of today. */
async function writeMonths(): Promise<void> {
  for (let n = 0; n < 3; n++) {
    await writeLines(t.kernel, 10, ADA, 10 * n + 1)
    clock.advance(31 * DAY_MS)
  }
  clock.jump(Date.now() - clock.now())
  await writeLines(t.kernel, 10, ADA, 31)
  await t.kernel.use(Sealer).checkpoint()
}

test('this month and the next two are there, once', async () => {
  const date = new Date()
  const ahead = [0, 1, 2].map((n) =>
    monthOf(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + n, 1)),
  )
  expect(await months()).toEqual(ahead)
  expect(await rotateAudit.run(t.kernel)).toEqual({ partitions_made: 0, months_dropped: 0 })
})

test('lines of a month that had no partition move into one', async () => {
  clock.jump(Date.now() - clock.now() - 70 * DAY_MS)
  await writeLines(t.kernel, 5, ADA)
  expect((await owner('select 1 from audit_log_default')).length).toBe(5)
  expect(await rotateAudit.run(t.kernel)).toEqual({ partitions_made: 1, months_dropped: 0 })
  expect((await owner('select 1 from audit_log_default')).length).toBe(0)
  expect((await owner('select 1 from audit_personal_default')).length).toBe(0)
  expect(found(await verify(t.kernel))).toEqual([])
  expect((await verify(t.kernel)).lines).toBe(5)
})

test('months that are over seven years old are dropped, and the rest still verifies', async () => {
  await writeMonths()
  expect(found(await verify(t.kernel))).toEqual([])
  const old = monthOf(longAgoMs())
  expect(await rotateAudit.run(t.kernel)).toMatchObject({ months_dropped: 3 })
  expect(await months()).not.toContain(old)
  const report = await verify(t.kernel)
  expect(found(report)).toEqual([])
  expect(report).toMatchObject({ start: { position: 30 }, lines: 10, personal: { checked: 20 } })
  // Where it begins is known without the database as well.
  await owner('delete from audit_trims')
  expect(found(await verify(t.kernel))).toEqual([])
})

test('more than that must not go missing', async () => {
  await writeMonths()
  await rotateAudit.run(t.kernel)
  await owner('delete from audit_log where position in (31, 32)')
  expect(found(await verify(t.kernel))).toEqual(['31 missing'])
})

test('a beginning that nobody has signed is none', async () => {
  await writeMonths()
  await owner('delete from audit_log where position <= 10')
  expect(found(await verify(t.kernel))).toEqual(['1 missing'])
  await owner(`insert into audit_trims select position, hash, '{"kind":"trim","position":10}'
    from audit_log where position = 11`)
  expect(found(await verify(t.kernel))).toEqual(['1 missing'])
})

test('a month with a damaged line is not dropped', async () => {
  await writeMonths()
  await rotateAudit.dryRun?.(t.kernel)
  await owner(`update audit_log set action = 'tests.forged' where position = 7`)
  await expect(rotateAudit.run(t.kernel)).rejects.toThrow('at line 7 changed')
  expect((await owner('select 1 from audit_log')).length).toBe(40)
  // Nor by asking the database itself, which wants to know where the chain will begin.
  const dropped = t.kernel.db.sql`select rialto_drop_audit()`
  await expect(Promise.resolve(dropped)).rejects.toThrow('no checkpoint')
})

test('addresses of people whom nobody knows are erased after a year', async () => {
  clock.jump(Date.now() - clock.now())
  const stranger = {
    ...lineAbout(ADA),
    target: undefined,
    actorId: undefined,
    subjectId: undefined,
  }
  const { target: _t, actorId: _a, subjectId: _s, ...line } = stranger
  await t.kernel.audit.insert(t.kernel.db.sql, [line])
  await writeLines(t.kernel, 1, ADA)
  clock.advance(364 * DAY_MS)
  expect(await forgetStrangers.run(t.kernel)).toEqual({ parts_erased: 0 })
  clock.advance(2 * DAY_MS)
  expect(await forgetStrangers.run(t.kernel)).toEqual({ parts_erased: 2 })
  const report = await verify(t.kernel)
  expect(found(report)).toEqual([])
  expect(report.personal).toEqual({ checked: 2, erased: 2 })
})

test('but not before: then they count as removed', async () => {
  const { target: _t, actorId: _a, subjectId: _s, ...line } = lineAbout(ADA)
  await t.kernel.audit.insert(t.kernel.db.sql, [line])
  await t.kernel.use(Sealer).seal()
  clock.advance(300 * DAY_MS)
  await owner('delete from audit_personal')
  expect(found(await verify(t.kernel))).toEqual(['1 personal data', '1 personal data'])
})
