import { SQL } from 'bun'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { prepareDatabase } from '../../db/roles.ts'
import { sqlState } from '../../db/transaction.ts'
import { systemClock } from '../../src/base/clock.ts'
import { testDatabase, type TestDatabase } from '../support/database.ts'
import { recordingLog } from '../support/log.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await testDatabase()
})
afterAll(() => database.drop())

test('the second start works with the server’s own role as well', async () => {
  const log = recordingLog()
  // The first was when the database was made. An owner that is no superuser may not name all
  // attributes of a role that exists, and the server went on as the owner.
  const { ownerUrl } = database
  const { url, separated } = await prepareDatabase({ ownerUrl, clock: systemClock, log })
  expect(separated).toBe(true)
  expect(url).toBe(database.url)
  expect(log.entries.filter(({ level }) => level === 'warn')).toEqual([])
})

test.each([
  'truncate users',
  'drop table users',
  'alter table users add column x int',
  'create table x (y int)',
  'create role x',
])('the server’s role may not %s', async (statement) => {
  const sql = new SQL({ url: database.url, max: 1 })
  const state = await sql.unsafe(statement).then(() => 'allowed', sqlState)
  await sql.close()
  expect(state).toBe('42501')
})
