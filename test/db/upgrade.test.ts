import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { drizzle } from 'drizzle-orm/bun-sql'
import { migrate } from 'drizzle-orm/bun-sql/migrator'
import { prepareDatabase } from '../../db/roles.ts'
import { sqlState } from '../../db/transaction.ts'
import { systemClock } from '../../src/base/clock.ts'
import { attack, attackNames } from '../support/attacks.ts'
import { emptyDatabase } from '../support/database.ts'
import { query } from '../support/embedded.ts'
import { quietLog } from '../support/log.ts'

/** A database as it was before the guard, with data in it, comes through the migration guarded. */

/** The last migration without it. */
const BEFORE = 14
/** What that version gave the server's role at each start, as far as these attacks need. */
const RIGHTS_BEFORE = `
  revoke create on schema public from public;
  grant usage on schema public to SERVER;
  grant select, insert, update, delete on all tables in schema public to SERVER;
  grant usage on all sequences in schema public to SERVER;
  revoke insert, update, delete on ledger_accounts, ledger_acts, ledger_transfers, ledger_holds
    from SERVER;
  revoke all on sequence ledger_act_id from SERVER;
  grant execute on function ledger_open_account, ledger_close_account, ledger_post to SERVER;
  revoke update, delete on approvals from SERVER;
  grant update (state, decided_by, decided_at, note) on approvals to SERVER;
  revoke delete on payments, payment_disputes, payouts from SERVER;
`
const PAYOUT = '0198a000-0000-7000-8000-0000000000a1'
const DATA = `
  insert into payouts (id, user_id, asset, amount, iban, name, state, not_before, requested_at,
    updated_at)
  values ('${PAYOUT}', '${PAYOUT}', 'EUR', 100, 'DE89370400440532013000', 'Ada', 'approved', now(),
    now(), now());
  insert into payments (provider, payment_id, user_id, asset, amount, created_at, updated_at)
  values ('stripe', 'pi_1', '${PAYOUT}', 'EUR', 100, now(), now())
`
const FORGERIES = [
  `update payouts set iban = 'FR1420041010050500013M02606'`,
  'update payouts set amount = 1000000',
  'update payments set amount = 1000000',
  `update payments set user_id = gen_random_uuid()`,
]

let folder: string
let made: Awaited<ReturnType<typeof emptyDatabase>>
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'rialto-upgrade-'))
  made = await emptyDatabase()
})
afterAll(async () => {
  await made.drop()
  rmSync(folder, { recursive: true, force: true })
})

/** The migrations up to that version. */
function migrationsBefore(): string {
  cpSync(join(import.meta.dir, '../../db/migrations'), folder, { recursive: true })
  const file = join(folder, 'meta/_journal.json')
  const journal = JSON.parse(readFileSync(file, 'utf8')) as { entries: { idx: number }[] }
  const entries = journal.entries.filter(({ idx }) => idx <= BEFORE)
  writeFileSync(file, JSON.stringify({ ...journal, entries }))
  return folder
}

/** How each forgery ends for the server's role; none of them lasts. */
async function forged(url: string): Promise<(string | undefined)[]> {
  const outcomes = []
  for (const statement of FORGERIES) {
    outcomes.push(
      await query(url, async (sql) => {
        await sql.unsafe('begin')
        return await sql.unsafe(statement).then(({ count }) => `rows: ${count}`, sqlState)
      }),
    )
  }
  return outcomes
}

test('a database of before the guard is guarded by the next start, with its data', async () => {
  const { ownerUrl, url: serverUrl } = made
  await query(ownerUrl, async (sql) => {
    await migrate(drizzle({ client: sql }), { migrationsFolder: migrationsBefore() })
    await sql.unsafe(RIGHTS_BEFORE.replaceAll('SERVER', new URL(serverUrl).username))
    await sql.unsafe(DATA)
  })
  const attacks = async () => {
    const outcomes = []
    for (const name of attackNames) {
      outcomes.push(await attack(serverUrl, name, 1), await attack(serverUrl, name, 2))
    }
    return outcomes
  }
  // The control: this is what it was like.
  expect(await attacks()).toEqual(['done', 'done', 'done', 'done'])
  expect(await forged(serverUrl)).toEqual(['rows: 1', 'rows: 1', 'rows: 1', 'rows: 1'])

  const { url } = await prepareDatabase({ ownerUrl, clock: systemClock, log: quietLog })
  expect(url).toBe(serverUrl)
  expect(await attacks()).toEqual(['42501', '42501', '42501', '42501'])
  expect(await forged(serverUrl)).toEqual(['42501', '42501', '42501', '42501'])
  const rows = await query(url, (sql) => sql`select iban, amount::text, state from payouts`)
  expect([...rows]).toEqual([{ iban: 'DE89370400440532013000', amount: '100', state: 'approved' }])
})
