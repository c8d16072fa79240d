import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { schedule } from '../../jobs/schedule.ts'
import { uuidv7 } from '../../src/base/ids.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'

const folder = mkdtempSync(join(tmpdir(), 'rialto-jobs-'))
let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(async () => {
  await database.drop()
  rmSync(folder, { recursive: true, force: true })
})

async function jobs(...args: string[]) {
  const script = join(import.meta.dir, '../../scripts/jobs.ts')
  const child = Bun.spawn([process.execPath, '--no-env-file', script, ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      NODE_ENV: 'test',
      DATA_DIR: folder,
      DATABASE_URL: database.ownerUrl,
    },
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { out, err, code }
}
const deadLetters = async () => {
  const [row] = await database.db.sql`select count(*)::int as dead from dead_letters`
  return row.dead as number
}

describe('bun run jobs', () => {
  test('list shows every job with its time and what it does', async () => {
    const { out, err, code } = await jobs('list')
    expect({ err, code }).toEqual({ err: '', code: 0 })
    for (const { job, at } of schedule) {
      const line = out.split('\n').find((text) => text.startsWith(`${job.name} `))
      expect(line).toContain(at)
      expect(line).toContain('never')
    }
  })

  test('run does it once; with --dry-run it says what it would do, and does nothing', async () => {
    await database.db.sql`
      insert into dead_letters
        (id, queue, payload, attempts, error, worker_id, created_at, died_at)
      values (${uuidv7()}, 'q', '{}', 1, 'e', ${uuidv7()}, now(), now() - interval '31 days')`
    const dry = await jobs('run', 'queues.forget_old', '--dry-run')
    expect(dry).toMatchObject({ err: '', code: 0 })
    expect(dry.out).toContain('would do (nothing was changed)')
    expect(dry.out).toContain('dead_letters 1')
    expect(await deadLetters()).toBe(1)
    const real = await jobs('run', 'queues.forget_old')
    expect(real.out).toContain('queues.forget_old has done:\n  dead_letters 1')
    expect(await deadLetters()).toBe(0)
  })

  test('says what is wrong', async () => {
    const unknown = await jobs('run', 'nothing.at_all')
    expect(unknown.code).toBe(1)
    expect(unknown.err).toStartWith(
      'jobs: no job is called nothing.at_all; there are streams.trim,',
    )
    for (const args of [[], ['walk'], ['run'], ['run', 'a', 'b'], ['list', '--dry-run']]) {
      const { code, err } = await jobs(...args)
      expect(code).toBe(1)
      expect(err).toContain('usage: bun run jobs list')
    }
    const strange = await jobs('list', '--fast')
    expect(strange.code).toBe(1)
    expect(strange.err).toContain('--fast')
  })
})
