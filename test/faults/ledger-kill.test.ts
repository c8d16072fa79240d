import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SQL } from 'bun'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { openDatabase } from '../../db/client.ts'
import { systemClock } from '../../src/base/clock.ts'
import { expectLedgerCoherent, funds } from '../support/books.ts'
import { budget, type Chance, chance, full } from '../support/budget.ts'
import type { TestDatabase } from '../support/database.ts'
import { testKernel } from '../support/kernel.ts'
import { type OwnPostgres, ownPostgres } from '../support/postgres.ts'
import { until } from '../support/wait.ts'

/**
 * Money and the world outside under kill -9: the process that pays, and the database, are killed at
 * any moment. What was reserved is paid once and posted once. The two tempting orders of work are
 * the controls: one pays twice, the other loses payments.
 */

const KILLS = budget(12, 1_000)
/** Every so many kills it is the database's turn. */
const DATABASE_EVERY = 6
/** How often a control may be killed until it goes wrong; it ends when it has. */
const CONTROL_KILLS = full ? 200 : 40
const START = 10n ** 9n
const PROGRAM = join(import.meta.dir, '../support/payer-process.ts')

let postgres: OwnPostgres
let folder: string
beforeAll(async () => {
  postgres = await ownPostgres()
  folder = mkdtempSync(join(tmpdir(), 'rialto-bank-'))
})
afterAll(async () => {
  await postgres.remove()
  rmSync(folder, { recursive: true, force: true })
})

interface Campaign {
  readonly database: TestDatabase
  readonly owner: string
  readonly bank: string
}

/** A wallet full of money, and a bank. */
async function begin(name: string): Promise<Campaign> {
  const database = await postgres.database()
  const owner = crypto.randomUUID()
  const db = openDatabase({ url: database.url, clock: systemClock })
  const { kernel, close } = await testKernel({ features: [], database: { ...database, db } })
  await funds(kernel, { asset: 'EUR', kind: 'wallet', owner }, START)
  await close()
  await db.close()
  const bank = join(folder, name.replaceAll(/\W+/g, '-'))
  writeFileSync(bank, '')
  return { database, owner, bank }
}

function start({ database, owner, bank }: Campaign, order: string, mode = '') {
  const args = [PROGRAM, database.url, owner, bank, order, mode]
  return Bun.spawn([process.execPath, '--no-env-file', ...args], {
    // What a killed process leaves behind.
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
}

/** Lets it pay for a moment, then kills it, or the database under it. */
async function oneLife(campaign: Campaign, order: string, luck: Chance, n: number): Promise<void> {
  const child = start(campaign, order)
  try {
    const reader = child.stdout.getReader()
    await Promise.race([reader.read(), child.exited])
    await Bun.sleep(luck.below(60))
    if (n % DATABASE_EVERY === DATABASE_EVERY - 1) {
      await postgres.end('SIGKILL')
      await postgres.start()
    }
  } finally {
    child.kill('SIGKILL')
    await child.exited
  }
}

interface Books {
  readonly paid: number
  readonly doubles: number
  readonly posted: number
  readonly unpaid: number
  readonly open: number
}

/** Compares what the bank has with what the ledger says. */
async function compare({ database, owner, bank }: Campaign): Promise<Books> {
  const lines = readFileSync(bank, 'utf8').split('\n').filter(Boolean)
  const sql = new SQL({ url: database.ownerUrl, max: 1 })
  try {
    // In one snapshot: what a process has sent before it was killed may still be committed.
    const [rows, [row]] = await sql.begin('isolation level repeatable read', async (tx) => [
      (await tx`select ref_id from ledger_acts where kind = 'pay.post'`) as { ref_id: string }[],
      await tx`
        select balance::text, held::text,
          (select count(*)::int from ledger_holds where state = 'open') as open
        from ledger_accounts where owner = ${owner}`,
    ])
    const paid = new Set(lines)
    expect(BigInt(row.balance as string)).toBe(START - BigInt(rows.length))
    return {
      paid: paid.size,
      doubles: lines.length - paid.size,
      posted: rows.length,
      unpaid: rows.filter(({ ref_id }) => !paid.has(ref_id)).length,
      open: row.open as number,
    }
  } finally {
    await sql.close()
  }
}

/** Kills that often, or until the books show what is looked for. */
async function campaign(
  order: string,
  kills: number,
  luck: Chance,
  found?: (books: Books) => boolean,
): Promise<[Campaign, Books]> {
  const money = await begin(order)
  for (let n = 0; n < kills; n++) {
    await oneLife(money, order, luck, n)
    if (found?.(await compare(money)) === true) break
  }
  await until(async () => (await start(money, order, 'recover').exited) === 0, 'recovered', 60_000)
  return [money, await compare(money)]
}

test(
  `${KILLS} kills of the server and of PostgreSQL: nothing double, nothing lost`,
  async () => {
    const luck = chance('ledger kill')
    const [money, books] = await campaign('reserve, pay, post', KILLS, luck)
    expect(books.posted).toBeGreaterThan(KILLS)
    expect(books).toMatchObject({ doubles: 0, unpaid: 0, open: 0, paid: books.posted })
    await expectLedgerCoherent(money.database)
  },
  KILLS * 5_000 + 120_000,
)

describe('the controls', () => {
  test(
    'paying before writing pays twice',
    async () => {
      const luck = chance('pay, write')
      const doubled = ({ doubles }: Books) => doubles > 0
      const [money, books] = await campaign('pay, write', CONTROL_KILLS, luck, doubled)
      expect(books.doubles).toBeGreaterThan(0)
      await expectLedgerCoherent(money.database)
    },
    CONTROL_KILLS * 5_000 + 60_000,
  )
  test(
    'writing before paying loses payments',
    async () => {
      const luck = chance('write, pay')
      const lost = ({ unpaid }: Books) => unpaid > 0
      const [money, books] = await campaign('write, pay', CONTROL_KILLS, luck, lost)
      expect(books.unpaid).toBeGreaterThan(0)
      await expectLedgerCoherent(money.database)
    },
    CONTROL_KILLS * 5_000 + 60_000,
  )
})
