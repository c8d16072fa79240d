/** `docs/idempotency.md` says how long a key counts: that is so. */

import { afterAll, beforeAll, expect, test } from 'bun:test'
import { SQL } from 'bun'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { features } from '../../src/features.ts'
import { labFeature } from '../support/lab.ts'
import { rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { type Stranger, strangers } from '../support/tokens.ts'

let server: TestServer
let ada: Stranger
let owner: SQL
beforeAll(async () => {
  server = await testServer({ features: [...features, labFeature] })
  ada = (await strangers(server, 1))[0] as Stranger
  owner = new SQL({ url: server.database.ownerUrl, max: 1 })
})
afterAll(async () => {
  await owner.close()
  await server.stop()
})

/** Whether a call under this key was answered with the first one's answer. */
async function replayed(key: string): Promise<boolean> {
  const { status, headers } = await rest(server, 'POST', '/api/v1/lab/notes', {
    token: ada.token,
    body: { on: 'days', text: 'x' },
    headers: { 'Idempotency-Key': key },
  })
  expect(status).toBeLessThan(300)
  return headers.has('Idempotent-Replayed')
}

test('a key counts until the end of the next day, then the call takes effect again', async () => {
  const key = crypto.randomUUID()
  expect(await replayed(key)).toBe(false)
  for (const [daysAgo, counts] of [
    [0, true],
    [1, true],
    [2, false],
  ] as const) {
    await owner`update idempotency set day = current_date - ${daysAgo}::int`
    expect(await replayed(key), `${daysAgo} days ago`).toBe(counts)
  }
})

test('a day of records is dropped three days after it began, and no sooner', async () => {
  const daysOf = async () => {
    const rows = await owner`
      select current_date - to_date(right(c.relname, 8), 'YYYYMMDD') as age
      from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'idempotency'::regclass and c.relname ~ '_[0-9]{8}$' order by age`
    return (rows as { age: number }[]).map(({ age }) => age)
  }
  await owner`delete from idempotency`
  // The database was copied from one that may be of yesterday.
  await owner`select rialto_rotate_idempotency()`
  for (const age of [1, 2, 3]) {
    await owner.unsafe(`do $$ begin execute format(
      'create table if not exists idempotency_%s partition of idempotency
        for values from (%L) to (%L)',
      to_char(current_date - ${age}, 'YYYYMMDD'), current_date - ${age}, current_date - ${age} + 1);
    end $$`)
  }
  expect(await daysOf()).toEqual([-2, -1, 0, 1, 2, 3])
  await owner`select rialto_rotate_idempotency()`
  expect(await daysOf()).toEqual([-2, -1, 0, 1, 2])
})

test('the page says so', () => {
  const page = readFileSync(join(import.meta.dir, '../../docs/idempotency.md'), 'utf8')
  const text = page.replaceAll(/\s+/g, ' ')
  expect(text).toContain("until the end of the day after the first call, by the database's date")
  expect(text).toContain('at least 24 and at most 48 hours')
  expect(text).toContain('three days after it began')
})
