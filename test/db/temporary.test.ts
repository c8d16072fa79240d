import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { attack, attackNames, type Outcome } from '../support/attacks.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { query } from '../support/embedded.ts'

/** Temporary tables do not make the server's role the owner. */

let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database.drop())

const FUNCTIONS = ['ledger_open_account', 'ledger_post_one', 'ledger_post']

/** Takes a wall away, or puts it back. */
const walls = {
  rights: (up: boolean) => {
    const name = new URL(database.ownerUrl).pathname.slice(1)
    const way = up ? ['revoke', 'from'] : ['grant', 'to']
    return [`${way[0]} temporary on database ${name} ${way[1]} public`]
  },
  path: (up: boolean) =>
    FUNCTIONS.map(
      (name) =>
        `alter function ${name} set search_path = pg_catalog, public${up ? ', pg_temp' : ''}`,
    ),
}

/** Runs all attacks while some walls are down. */
async function outcomes(down: readonly (keyof typeof walls)[]): Promise<Outcome[]> {
  const turn = (up: boolean) =>
    query(database.ownerUrl, async (sql) => {
      for (const wall of down) for (const one of walls[wall](up)) await sql.unsafe(one)
    })
  await turn(false)
  try {
    const found = []
    for (const name of attackNames) {
      for (const entries of [1, 2] as const) {
        found.push(await attack(database.url, name, entries))
      }
    }
    return found
  } finally {
    await turn(true)
  }
}

describe('the server’s role cannot, by temporary tables,', () => {
  test.each(attackNames)('%s', async (name) => {
    expect(await attack(database.url, name, 1)).toBe('42501')
    expect(await attack(database.url, name, 2)).toBe('42501')
  })

  test('do so where it may make temporary tables: the functions do not look there', async () => {
    expect(await outcomes(['rights'])).toEqual(['held', 'held', '42501', '42501'])
  })

  test('do so where a function looks there: it may make none', async () => {
    expect(await outcomes(['path'])).toEqual(['42501', '42501', '42501', '42501'])
  })

  test('control: with both walls down, as before, all attacks succeed', async () => {
    expect(await outcomes(['rights', 'path'])).toEqual(['done', 'done', 'done', 'done'])
  })
})
