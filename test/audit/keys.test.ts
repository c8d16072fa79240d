import { expect, test } from 'bun:test'
import { auditFeature } from '../../src/audit/index.ts'
import { deriveKeys, keepKey } from '../../src/audit/keys.ts'
import { Sealer } from '../../src/audit/sealer.ts'
import { createVault, placeOf } from '../../src/vault/vault.ts'
import { testKernel } from '../support/kernel.ts'
import { asOwner, found, verify, writeLines } from './setup.ts'

/** A log outlives the keys it is sealed with. */

const ADA = '0198a000-0000-7000-8000-00000000ada0'
const OLD = '11'.repeat(32)
const NEW = '22'.repeat(32)
const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'))
const env = (...keys: string[]) => ({ MASTER_ENCRYPTION_KEY: keys.join(',') })

test('keys differ by master key and purpose, and their ids tell nothing', () => {
  const [old, fresh] = [deriveKeys([bytes(OLD)]).current, deriveKeys([bytes(NEW)]).current]
  const secrets = [old, fresh].flatMap(({ secret, seal, id, publicKey }) => [
    secret.toString('hex'),
    seal.toString('hex'),
    id,
    publicKey,
  ])
  expect(new Set([...secrets, OLD, NEW]).size).toBe(10)
  expect(deriveKeys([bytes(NEW), bytes(OLD)]).known.get(old.id)?.publicKey).toBe(old.publicKey)
})

test('what an old key has sealed is verified by a new one, once the old is gone', async () => {
  const first = await testKernel({ features: [auditFeature], env: env(OLD) })
  const { database } = first
  const instance = (...keys: string[]) =>
    testKernel({ features: [auditFeature], env: env(...keys), database })
  await keepKey(database.db.sql, createVault([bytes(OLD)]), deriveKeys([bytes(OLD)]))
  await writeLines(first.kernel, 10, ADA)
  expect(found(await verify(first.kernel))).toEqual([])

  // Both: the first seals, both are known.
  const both = await instance(NEW, OLD)
  await writeLines(both.kernel, 10, ADA, 11)
  expect(found(await verify(both.kernel))).toEqual([])
  const rows = await database.db.sql`
    select key_id, count(*)::int as lines from audit_log group by key_id order by min(position)`
  expect(rows.map(({ lines }: { lines: number }) => lines)).toEqual([10, 10])

  // The old one is taken away without the vault having been rotated: its lines cannot be checked.
  const alone = await instance(NEW)
  const { kernel } = alone
  const fresh = { ...kernel, vault: createVault([bytes(NEW)]) }
  const report = await verify(fresh)
  expect([report.damages, report.first[0]?.kind]).toEqual([10, 'unknown key'])

  // Rotated, as `sealed` in the feature's manifest asks for.
  const [{ id, secret }] = await database.db.sql`select id, secret from audit_keys`
  const place = placeOf('audit_keys', 'secret', id)
  const opened = createVault([bytes(OLD)]).open(place, secret)
  const sealed = createVault([bytes(NEW)]).seal(place, opened)
  await database.db.sql`update audit_keys set secret = ${sealed} where id = ${id}`
  expect(found(await verify(fresh))).toEqual([])

  // And a key that somebody puts there by hand is none.
  await asOwner(database.ownerUrl, (sql) => sql`update audit_keys set secret = 'x'`)
  expect((await verify(fresh)).damages).toBe(10)
  for (const one of [alone, both, first]) await one.close()
})

test('a server keeps its key where the vault can seal it anew', async () => {
  const t = await testKernel({ features: [auditFeature] })
  for (const _ of [1, 2]) await (await t.kernel.use(Sealer).start())()
  const rows = await t.kernel.db.sql`select id from audit_keys`
  const { current } = deriveKeys(t.kernel.config.masterKeys)
  expect(rows.map(({ id }: { id: string }) => id)).toEqual([current.id])
  expect(auditFeature.sealed).toEqual([{ table: 'audit_keys', column: 'secret', id: 'id' }])
  await t.close()
})
