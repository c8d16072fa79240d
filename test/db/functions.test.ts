import { SQL } from 'bun'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { testDatabase, type TestDatabase } from '../support/database.ts'

/** What runs with the owner's rights finds nothing that its caller has put in its way. */

let database: TestDatabase
let owner: SQL
beforeAll(async () => {
  database = await testDatabase()
  owner = new SQL({ url: database.ownerUrl, max: 1 })
})
afterAll(async () => {
  await owner.close()
  await database.drop()
})

interface Routine {
  readonly name: string
  readonly definer: boolean
  /** Fired by a trigger: with the rights of whoever writes, the owner among them. */
  readonly fired: boolean
  readonly path: string | null
  readonly source: string
  /** Everybody may call it. */
  readonly open: boolean
}

async function routines(): Promise<Routine[]> {
  return await owner`
    select p.proname as name, p.prosecdef as definer, p.prosrc as source,
      exists (select from pg_trigger t where t.tgfoid = p.oid and not t.tgisinternal) as fired,
      (select substr(setting, length('search_path=') + 1) from unnest(p.proconfig) as setting
        where setting like 'search_path=%') as path,
      exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
        where a.grantee = 0) as open
    from pg_proc p where p.pronamespace = 'public'::regnamespace order by p.proname`
}

/** Those that run as the owner: lent, fired, or called by one of these. */
function asOwner(all: readonly Routine[]): Routine[] {
  const found = new Set(all.filter(({ definer, fired }) => definer || fired))
  // A set that grows while it is walked is walked to its end.
  for (const { source } of found) {
    for (const other of all) {
      if (new RegExp(`\\b${other.name}\\s*\\(`).test(source)) found.add(other)
    }
  }
  return [...found]
}

/** Those whose path does not end with the schema of temporary tables. */
const unguarded = (all: readonly Routine[]) =>
  asOwner(all)
    .filter(({ path }) => path === null || !/(^|, )pg_temp$/.test(path))
    .map(({ name }) => name)
    .toSorted()

describe('a function that runs as the owner', () => {
  test('looks for temporary tables last', async () => {
    const all = await routines()
    const names = asOwner(all).map(({ name }) => name)
    for (const name of ['ledger_post', 'ledger_post_one', 'rialto_add_audit_month']) {
      expect(names).toContain(name)
    }
    expect(unguarded(all)).toEqual([])
  })

  test('is not for everybody to call', async () => {
    // What is for everybody reads no table and has the caller's rights.
    const open = (await routines()).filter(({ open }) => open).map(({ name }) => name)
    expect(open).toEqual(['ledger_decimal'])
  })

  test('control: one that is not, does not or has no path at all is found', async () => {
    const planted = async (work: () => Promise<void>) => {
      await owner`begin`
      try {
        await work()
        return unguarded(await routines())
      } finally {
        await owner`rollback`
      }
    }
    const body = 'language plpgsql as $$ begin null; end $$'
    expect(
      await planted(async () => {
        await owner.unsafe(`
          create function planted() returns void security definer
            set search_path = pg_catalog, public ${body};
          create function planted_without() returns void security definer ${body};
          create function planted_first() returns void security definer
            set search_path = pg_temp, public ${body};
          create function planted_helper() returns void ${body};
          create function planted_caller() returns void security definer
            set search_path = pg_catalog, pg_temp
            language plpgsql as $$ begin perform planted_helper(); end $$;
          create function planted_alone() returns void ${body}`)
      }),
    ).toEqual(['planted', 'planted_first', 'planted_helper', 'planted_without'])
    // The functions as they were.
    expect(
      await planted(async () => {
        await owner.unsafe('alter function ledger_post_one set search_path = pg_catalog, public')
      }),
    ).toEqual(['ledger_post_one'])
  })
})
