import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { Database } from '../../db/client.ts'
import type { Tx } from '../../db/transaction.ts'
import { resealSecrets } from '../../jobs/reseal-secrets.ts'
import { resealAll, surveyColumn } from '../../jobs/reseal.ts'
import { uuidv7 } from '../../src/base/ids.ts'
import { features } from '../../src/features.ts'
import { SealedColumns } from '../../src/kernel/feature.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'
import { createVault, placeOf, type Vault, VaultError } from '../../src/vault/vault.ts'
import { auditTrail } from '../support/audit.ts'
import { budget, chance } from '../support/budget.ts'
import { type TestKernel, testKernel } from '../support/kernel.ts'

/** Changing the master key while everything goes on, on the table of webhooks' endpoints. */

const master = (byte: number) => new Uint8Array(32).fill(byte)
const [OLD, FRESH] = [master(1), master(2)]
const old = createVault([OLD])
/** Servers that have heard of the new key; those that seal with it; those that know it alone. */
const informed = createVault([OLD, FRESH])
const changed = createVault([FRESH, OLD])
const fresh = createVault([FRESH])

let world: TestKernel
beforeAll(async () => {
  world = await testKernel({ features })
})
afterAll(() => world.close())
beforeEach(async () => {
  await world.kernel.db.sql`delete from webhook_endpoints`
  await world.kernel.db.sql`delete from queue_jobs`
})

const kernelWith = (vault: Vault): Kernel => ({ ...world.kernel, vault })
const TABLE = 'webhook_endpoints'
const COLUMN = { table: TABLE, column: 'secret', id: 'id' }
const secretOf = (id: string) => `the secret of ${id}`

/** Endpoints with secrets sealed by `vault`. */
async function insert(count: number, vault: Vault): Promise<string[]> {
  const rows = Array.from({ length: count }, () => {
    const id = uuidv7()
    return { id, secret: vault.seal(placeOf(TABLE, 'secret', id), secretOf(id)).toString('hex') }
  })
  await world.kernel.db.sql`
    insert into webhook_endpoints (id, url, description, events, parallel, secret, state, epoch,
      position, created_at, updated_at)
    select id, 'https://example.org/', '', '{}', 1, decode(secret, 'hex'), 'paused', 'e', 0,
      now(), now()
    from json_to_recordset(${JSON.stringify(rows)}::text::json) as row(id uuid, secret text)`
  return rows.map(({ id }) => id)
}

async function readSecret(id: string, vault: Vault): Promise<string> {
  const [row] = await world.kernel.db.sql`select secret from webhook_endpoints where id = ${id}`
  return vault.open(placeOf(TABLE, 'secret', id), row.secret as Uint8Array).toString()
}
const writeSecret = (id: string, vault: Vault) => world.kernel.db.sql`
  update webhook_endpoints set secret = ${vault.seal(placeOf(TABLE, 'secret', id), secretOf(id))}
  where id = ${id}`
const counts = async (): Promise<Record<string, number>> =>
  Object.fromEntries((await surveyColumn(world.kernel, COLUMN)).sealed)
const done = (results: Awaited<ReturnType<typeof resealAll>>) =>
  results.find(({ column }) => column.table === TABLE && column.column === 'secret')

test('every column that holds sealed values is known by its feature', async () => {
  // Whoever seals into another column adds it to the manifest, or it is lost with the old key.
  const columns = world.kernel.use(SealedColumns).map(({ table, column }) => `${table}.${column}`)
  expect(columns.toSorted()).toEqual([
    'audit_keys.secret',
    'dead_letters.payload',
    'export_pages.content',
    'queue_jobs.payload',
    'second_factors.pending_secret',
    'second_factors.secret',
    'webhook_endpoints.previous_secret',
    'webhook_endpoints.secret',
  ])
  for (const { table, column, id } of world.kernel.use(SealedColumns)) {
    const found = await world.kernel.db.sql`
      select column_name, data_type from information_schema.columns
      where table_name = ${table} and column_name in (${column}, ${id})`
    expect(found).toHaveLength(2)
  }
})

test('what is sealed with another key is sealed anew, the rest stays as it is', async () => {
  const before = await insert(1_200, old)
  const [kept] = await insert(1, fresh)
  const untouched = await world.kernel.db.sql`
    select secret, xmin::text as version from webhook_endpoints where id = ${kept}`
  expect(await counts()).toEqual({ [old.keyId]: 1_200, [fresh.keyId]: 1 })
  expect(done(await resealAll(kernelWith(changed)))).toMatchObject({
    resealed: 1_200,
    unreadable: 0,
    held: 0,
  })
  expect(await counts()).toEqual({ [fresh.keyId]: 1_201 })
  for (const id of before.slice(0, 50)) expect(await readSecret(id, fresh)).toBe(secretOf(id))
  const after = await world.kernel.db.sql`
    select secret, xmin::text as version from webhook_endpoints where id = ${kept}`
  expect(after).toEqual(untouched)
  expect(done(await resealAll(kernelWith(changed)))).toMatchObject({ resealed: 0 })
  const [line] = (await auditTrail(world, 'secrets.')).slice(-1)
  expect(line).toMatchObject({
    action: 'secrets.resealed',
    after: { key_id: fresh.keyId, 'webhook_endpoints.secret': 1_200 },
  })
})

test('plain values of a column that holds both are left alone', async () => {
  const { sql } = world.kernel.db
  const [plain, sealed] = [uuidv7(), uuidv7()]
  const payload = (id: string) => old.seal(placeOf('queue_jobs', 'payload', id), '{"a":1}')
  await sql`
    insert into queue_jobs (id, queue, payload, due_at, created_at)
    values (${plain}, 'plain', '{"long":"enough to be mistaken for something else by length"}',
        now() + interval '1 day', now()),
      (${sealed}, 'sealed', ${payload(sealed)}, now() + interval '1 day', now())`
  await resealAll(kernelWith(changed))
  const rows = await sql`select id, payload from queue_jobs`
  const of = (id: string) => rows.find((row: { id: string }) => row.id === id).payload as Uint8Array
  expect(Buffer.from(of(plain)).toString()).toStartWith('{"long"')
  expect(fresh.open(placeOf('queue_jobs', 'payload', sealed), of(sealed)).toString()).toBe(
    '{"a":1}',
  )
})

test('large values are taken a few at a time', async () => {
  const { sql } = world.kernel.db
  const ids = Array.from({ length: 12 }, () => uuidv7())
  const large = Buffer.alloc(300_000, 'x')
  for (const id of ids) {
    await sql`
      insert into queue_jobs (id, queue, payload, due_at, created_at)
      values (${id}, 'large', ${old.seal(placeOf('queue_jobs', 'payload', id), large)},
        now() + interval '1 day', now())`
  }
  // Rows that one transaction has written.
  const transactions: number[] = []
  const { db } = world.kernel
  const written = ({ sql: inside }: Tx) => inside<{ n: number }[]>`
    select count(*)::int as n from queue_jobs
    where xmin::text = pg_current_xact_id()::xid::text`
  const counting: Database = {
    ...db,
    transaction: (fn) =>
      db.transaction(async (tx) => {
        const result = await fn(tx)
        const [row] = await written(tx)
        transactions.push(row?.n ?? 0)
        return result
      }),
  }
  await resealAll({ ...kernelWith(changed), db: counting })
  expect(Math.max(...transactions)).toBe(3)
  for (const id of ids) {
    const [row] = await sql`select payload from queue_jobs where id = ${id}`
    expect(fresh.open(placeOf('queue_jobs', 'payload', id), row.payload)).toEqual(large)
  }
})

test('what does not open is named, and holds up nothing', async () => {
  const lost = createVault([master(9)])
  const [gone] = await insert(1, lost)
  const [moved, other] = await insert(2, old)
  await world.kernel.db.sql`
    update webhook_endpoints set secret = (
      select secret from webhook_endpoints where id = ${other}) where id = ${moved}`
  await insert(10, old)
  const result = done(await resealAll(kernelWith(changed)))
  expect(result).toMatchObject({ resealed: 11, unreadable: 2, held: 0 })
  expect(result?.unreadableIds.toSorted()).toEqual([gone!, moved!].toSorted())
  const kernel = kernelWith(changed)
  await resealSecrets.run(kernel)
  expect(world.log.entries.at(-1)).toMatchObject({
    level: 'error',
    fields: { column: 'webhook_endpoints.secret', unreadable: 2 },
  })
  expect(await resealSecrets.dryRun?.(kernel)).toMatchObject({ 'webhook_endpoints.secret': 2 })
})

test('a row that somebody holds is not waited for, but done when it is free', async () => {
  const [held] = await insert(3, old)
  const { promise: freed, resolve: free } = Promise.withResolvers<void>()
  const { promise: locked, resolve: lock } = Promise.withResolvers<void>()
  const holding = world.kernel.db.transaction(async ({ sql }) => {
    await sql`select from webhook_endpoints where id = ${held} for update`
    lock()
    await freed
  })
  await locked
  const work = resealAll(kernelWith(changed))
  await Bun.sleep(200)
  expect(await counts()).toEqual({ [old.keyId]: 1, [fresh.keyId]: 2 })
  free()
  await holding
  expect(done(await work)).toMatchObject({ resealed: 3, held: 0 })
})

describe('under load', () => {
  /** Readers and writers with several vaults, until `work` is done; returns what did not open. */
  async function under(ids: readonly string[], vaults: readonly Vault[], work: Promise<unknown>) {
    const { below, pick } = chance('reseal')
    let [running, reads, writes] = [true, 0, 0]
    const unreadable: string[] = []
    const client = async () => {
      while (running) {
        const id = ids[below(ids.length)] as string
        const vault = pick(vaults)
        if (below(3) === 0) {
          writes++
          await writeSecret(id, vault)
        } else {
          reads++
          try {
            if ((await readSecret(id, vault)) !== secretOf(id)) unreadable.push(`${id}: another`)
          } catch (error) {
            if (!(error instanceof VaultError)) throw error
            unreadable.push(`${id}: ${error.message}`)
          }
        }
      }
    }
    const clients = Array.from({ length: 8 }, client)
    await work
    running = false
    await Promise.all(clients)
    return { unreadable, reads, writes }
  }

  const ROWS = budget(3_000, 50_000)
  test(`nothing is unreadable at any moment, nothing left in the end (${ROWS} rows)`, async () => {
    const ids = await insert(ROWS, old)
    const kernel = kernelWith(changed)
    // Some servers seal with the old key still: what they write is done by the next run.
    const first = await under(ids, [informed, changed], resealAll(kernel))
    expect(first.unreadable).toEqual([])
    const second = await under(ids, [changed], resealAll(kernel))
    expect(second.unreadable).toEqual([])
    expect(Math.min(first.reads, first.writes, second.reads, second.writes)).toBeGreaterThan(10)
    expect(await counts()).toEqual({ [fresh.keyId]: ROWS })
    for (const id of ids) {
      if (Number.parseInt(id.slice(-2), 16) % 16 > 0) continue
      expect(await readSecret(id, fresh)).toBe(secretOf(id))
    }
  }, 300_000)

  test('the control: servers that were not told of the new key first cannot read', async () => {
    const ids = await insert(500, old)
    const { unreadable } = await under(ids, [old], resealAll(kernelWith(changed)))
    const after = await Promise.allSettled(ids.map((id) => readSecret(id, old)))
    const failed = after.filter(({ status }) => status === 'rejected').length
    expect(unreadable.length + failed).toBeGreaterThan(0)
  })

  test('two at once do the work of one', async () => {
    const ids = await insert(2_000, old)
    const kernel = kernelWith(changed)
    const results = await Promise.all([resealAll(kernel), resealAll(kernel)])
    const counted = results.map((result) => done(result)?.resealed ?? 0)
    expect(counted[0]! + counted[1]!).toBe(2_000)
    expect(await counts()).toEqual({ [fresh.keyId]: 2_000 })
    expect(await readSecret(ids[0]!, fresh)).toBe(secretOf(ids[0]!))
  })

  test('one that is stopped goes on where it was', async () => {
    await insert(2_000, old)
    const abort = new AbortController()
    const kernel = kernelWith({
      ...changed,
      seal(place, secret) {
        if (abort.signal.aborted === false && ++sealed === 700) abort.abort(new Error('stopping'))
        return changed.seal(place, secret)
      },
    })
    let sealed = 0
    await expect(resealAll(kernel, abort.signal)).rejects.toThrow('stopping')
    const between = await counts()
    expect(between[fresh.keyId]).toBeWithin(500, 1_500)
    expect(between[old.keyId]! + between[fresh.keyId]!).toBe(2_000)
    expect(done(await resealAll(kernelWith(changed)))?.resealed).toBe(between[old.keyId]!)
    expect(await counts()).toEqual({ [fresh.keyId]: 2_000 })
  })
})
