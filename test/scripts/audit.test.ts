import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { auditFeature } from '../../src/audit/index.ts'
import { Sealer } from '../../src/audit/sealer.ts'
import { startServer } from '../../src/server.ts'
import { asOwner, writeLines } from '../audit/setup.ts'
import { type TestKernel, testKernel } from '../support/kernel.ts'
import { quietLog } from '../support/log.ts'
import { testConfig } from '../support/server.ts'
import { auditTrail } from '../support/audit.ts'

/** The tools of the audit log, as an operator runs them. */

const ADA = '0198a000-0000-7000-8000-00000000ada0'
const SECRETS = {
  JWT_SECRET: 'a-secret-of-the-tests-at-least-32-bytes-long',
  MASTER_ENCRYPTION_KEY: '00'.repeat(32),
}

let t: TestKernel
beforeEach(async () => {
  t = await testKernel({ features: [auditFeature] })
  await writeLines(t.kernel, 30, ADA)
  await t.kernel.use(Sealer).checkpoint()
})
afterEach(() => t.close())

async function run(script: string, args: string[], env: Record<string, string>) {
  const path = join(import.meta.dir, '../../scripts', script)
  const child = Bun.spawn([process.execPath, '--no-env-file', path, ...args], {
    cwd: tmpdir(),
    env: { PATH: process.env['PATH'] ?? '', NODE_ENV: 'test', ...SECRETS, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()])
  return { code: await child.exited, output, errors }
}

const here = () => ({ DATABASE_URL: t.database.ownerUrl, DATA_DIR: t.kernel.config.dataDir })
const verify = (...args: string[]) => run('audit-verify.ts', args, here())
const tamper = (statement: string) => asOwner(t.database.ownerUrl, (sql) => sql.unsafe(statement))

describe('audit:verify', () => {
  test('says what it covers and ends with 0 when nothing is wrong', async () => {
    const { code, output } = await verify()
    expect(output).toMatch(/^lines +30 \(1 to 30\), in [\d.]+ s$/m)
    expect(output).toMatch(/^from +\d{4}-\d\d-\d\dT/m)
    expect(output).toMatch(/^personal data +60 parts as sealed, 0 erased$/m)
    expect(output).toMatch(/^checkpoints +1 compared, 0 before a restoration$/m)
    expect(output).toMatch(/^undamaged$/m)
    expect(code).toBe(0)
  })

  test('names the first damage, its place and its kind, and ends with 1', async () => {
    await tamper(`update audit_log set action = 'x' where position in (12, 20)`)
    const { code, output } = await verify()
    expect(output).toMatch(/^DAMAGED +2 places, the first at line 12$/m)
    expect(output).toContain('line 12: changed: the line (x, ')
    expect(code).toBe(1)
  })

  test('needs checkpoints to see that the end is gone; they may lie elsewhere', async () => {
    await tamper(`delete from audit_log where position > 9;
      update audit_head set position = 9, hash = (select hash from audit_log where position = 9)`)
    const [folder] = t.kernel.config.audit.checkpointDirs as [string]
    const elsewhere = { ...here(), DATA_DIR: join(t.kernel.config.dataDir, 'empty') }
    const without = await run('audit-verify.ts', [], elsewhere)
    expect([without.code, without.output]).toEqual([0, expect.stringContaining('0 compared')])
    const beside = await run('audit-verify.ts', ['--checkpoints', folder], elsewhere)
    expect([beside.code, beside.output]).toEqual([1, expect.stringContaining('10: truncated')])
  })

  test('takes note of a restoration, and the chain goes on', async () => {
    await tamper(`delete from audit_log where position > 9;
      update audit_head set position = 9, hash = (select hash from audit_log where position = 9)`)
    expect((await verify('--until', '2001-01-01T00:00:00Z')).code).toBe(0)
    expect((await verify()).code).toBe(1)
    const accepted = await verify('--accept-restore')
    expect(accepted.output).toContain('accepted: the chain goes on after line 9')
    // Another server, which has not seen what is lost.
    const after = await testKernel({ features: [auditFeature], database: t.database })
    await writeLines(after.kernel, 40, ADA)
    await after.close()
    const again = await verify()
    expect([again.code, again.output]).toEqual([
      0,
      expect.stringContaining('1 before a restoration'),
    ])
    expect(await auditTrail(t, 'audit.restore_accepted')).toMatchObject([
      { actor_kind: 'server', after: { position: 9 } },
    ])
  })

  test('takes no note of one when more is wrong than a lost end', async () => {
    await tamper(`delete from audit_log where position in (5, 30);
      update audit_head set position = 29, hash = (select hash from audit_log where position = 29)`)
    const { code, output } = await verify('--accept-restore')
    expect([code, output]).toEqual([1, expect.stringContaining('not accepted')])
  })

  test('ends with 2 when it cannot look', async () => {
    expect((await verify('--until', 'tomorrow')).code).toBe(2)
    const nowhere = { ...here(), DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none' }
    const { code, errors } = await run('audit-verify.ts', [], nowhere)
    expect([code, errors]).toEqual([2, expect.stringContaining('audit:verify:')])
  })
})

describe('audit:export', () => {
  test('writes the chain as NDJSON, and that into the log', async () => {
    const { code, output } = await run('audit-export.ts', [], here())
    const lines = output.trim().split('\n')
    expect(code).toBe(0)
    expect(lines.map((line) => JSON.parse(line).position)).toEqual(
      Array.from(lines, (_, n) => n + 1),
    )
    expect(await auditTrail(t, 'audit.exported')).toMatchObject([{ after: { lines: 30 } }])
  })

  test('writes CSV that no spreadsheet runs', async () => {
    await t.kernel.audit.record({
      action: 'tests.odd',
      target: { type: 'thing', id: '=cmd|"/c calc"!A1' },
      after: { text: 'a, "b"\nc' },
      caller: null,
      request: { id: '@x', transport: 'rest', address: '', userAgent: '', connectionId: undefined },
    })
    await t.kernel.use(Sealer).seal()
    const { output } = await run('audit-export.ts', ['--format', 'csv'], here())
    const rows = output.trim().split('\r\n')
    expect(rows.length).toBe(32)
    expect(rows[0]).toStartWith('id,position,at,')
    expect(rows[31]).toContain(`,"'=cmd|""/c calc""!A1",`)
    expect(rows[31]).toContain(`,'@x,`)
    expect(rows[31]).toContain(String.raw`"{""text"":""a, \""b\""\nc""}"`)
  })

  test('of a time', async () => {
    const [{ at }] = await t.kernel.db.sql`select at from audit_log where position = 30`
    const from = new Date(at.getTime() + 1).toISOString()
    const { output } = await run('audit-export.ts', ['--from', from], here())
    expect(output).toBe('')
  })
})

test('both work beside a server with the embedded database, and without one', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rialto-audit-'))
  const env = { DATA_DIR: folder }
  try {
    const config = testConfig({ PORT: '0', RATE_LIMITS: 'off' }, folder)
    const server = await startServer({ config, log: quietLog })
    await writeLines(server.kernel, 5, ADA)
    const beside = await run('audit-verify.ts', [], env)
    expect([beside.code, beside.output]).toEqual([0, expect.stringContaining('undamaged')])
    expect((await server.kernel.db.sql`select 1 as one`)[0].one).toBe(1)
    await server.stop()
    const alone = await run('audit-export.ts', [], env)
    expect(alone.output.trim().split('\n').length).toBeGreaterThanOrEqual(5)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}, 60_000)
