import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { uuidv7 } from '../../src/base/ids.ts'
import { createVault, placeOf } from '../../src/vault/vault.ts'
import { type TestDatabase, testDatabase } from '../support/database.ts'
import { until } from '../support/wait.ts'

const [OLD, FRESH] = ['11'.repeat(32), '22'.repeat(32)]
const vaultOf = (...keys: string[]) => createVault(keys.map((key) => Uint8Array.fromHex(key)))
const [old, fresh] = [vaultOf(OLD), vaultOf(FRESH)]

const folder = mkdtempSync(join(tmpdir(), 'rialto-secrets-'))
let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(async () => {
  await database.drop()
  rmSync(folder, { recursive: true, force: true })
})

function start(keys: string, ...args: string[]) {
  const script = join(import.meta.dir, '../../scripts/secrets.ts')
  return Bun.spawn([process.execPath, '--no-env-file', script, ...args], {
    env: {
      PATH: process.env['PATH'] ?? '',
      NODE_ENV: 'test',
      DATA_DIR: folder,
      DATABASE_URL: database.ownerUrl,
      MASTER_ENCRYPTION_KEY: keys,
    },
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}
async function secrets(keys: string, ...args: string[]) {
  const child = start(keys, ...args)
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { out, err, code }
}
const lineOf = (out: string, start_: string) =>
  out.split('\n').find((line) => line.startsWith(start_))

async function insert(count: number) {
  const rows = Array.from({ length: count }, () => {
    const id = uuidv7()
    const sealed = old.seal(placeOf('webhook_endpoints', 'secret', id), id)
    return { id, secret: sealed.toString('hex') }
  })
  await database.db.sql`
    insert into webhook_endpoints (id, url, description, events, parallel, secret, state, epoch,
      position, created_at, updated_at)
    select id, 'https://example.org/', '', '{}', 1, decode(secret, 'hex'), 'paused', 'e', 0,
      now(), now()
    from json_to_recordset(${JSON.stringify(rows)}::text::json) as row(id uuid, secret text)`
}
async function openedBy(vault: typeof old) {
  const rows = await database.db.sql<{ id: string; secret: Uint8Array }[]>`
    select id, secret from webhook_endpoints`
  return rows.filter(({ id, secret }) => {
    try {
      return vault.open(placeOf('webhook_endpoints', 'secret', id), secret).toString() === id
    } catch {
      return false
    }
  }).length
}

describe('bun run secrets', () => {
  const COLUMN = 'webhook_endpoints.secret'

  test('status says which keys are in use, and shows none of them', async () => {
    await insert(20_000)
    const { out, err, code } = await secrets(`${FRESH},${OLD}`, 'status')
    expect({ err, code }).toEqual({ err: '', code: 0 })
    expect(lineOf(out, COLUMN)).toEndWith(`20000 with ${old.keyId}`)
    expect(lineOf(out, `key ${fresh.keyId}`)).toEndWith('seals; 0 values')
    expect(lineOf(out, `key ${old.keyId}`)).toContain('opens; 20000 values: keep it')
    expect(out).not.toContain(OLD)
  })

  test('status says when a key is missing', async () => {
    const { out, code } = await secrets(FRESH, 'status')
    expect(code).toBe(1)
    expect(lineOf(out, `key ${old.keyId}`)).toContain('is missing; 20000 values')
  })

  test('rotate may be killed and run again; every value opens at each moment', async () => {
    const both = vaultOf(FRESH, OLD)
    const child = start(`${FRESH},${OLD}`, 'rotate')
    await until(async () => (await openedBy(fresh)) > 0, 'it has begun', 20_000)
    child.kill('SIGKILL')
    await child.exited
    const done = await openedBy(fresh)
    expect(done).toBeWithin(1, 20_000)
    expect([await openedBy(old), await openedBy(both)]).toEqual([20_000 - done, 20_000])
    const { out, err, code } = await secrets(`${FRESH},${OLD}`, 'rotate')
    expect({ err, code }).toEqual({ err: '', code: 0 })
    expect(lineOf(out, COLUMN)).toEndWith(`${20_000 - done} sealed anew`)
    expect(lineOf(out, `key ${old.keyId}`)).toContain('opens; 0 values: may be removed')
    expect(await openedBy(fresh)).toBe(20_000)
    expect((await secrets(FRESH, 'status')).code).toBe(0)
  }, 60_000)

  test('rotate without the old key says so, and leaves what it cannot open', async () => {
    const { out, code } = await secrets(OLD, 'rotate')
    expect(code).toBe(1)
    expect(lineOf(out, COLUMN)).toContain('0 sealed anew; 20000 do not open: ')
    expect(await openedBy(fresh)).toBe(20_000)
  })

  test('says how it is used', async () => {
    for (const args of [[], ['burn'], ['rotate', 'now'], ['constructor']]) {
      const { err, code } = await secrets(FRESH, ...args)
      expect([code, err]).toEqual([1, expect.stringContaining('usage: bun run secrets status')])
    }
  })
})
