import { SQL } from 'bun'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { prepareDatabase, type RoleOptions } from '../../db/roles.ts'
import { serverPassword } from '../../db/server-role.ts'
import { systemClock } from '../../src/base/clock.ts'
import { emptyDatabase, superuserOfTests, testDatabase } from '../support/database.ts'
import { query } from '../support/embedded.ts'
import { recordingLog } from '../support/log.ts'

/** Which role the server works as, and what is done about it at a start. */

let database: Awaited<ReturnType<typeof emptyDatabase>>
let admin: SQL
let log: ReturnType<typeof recordingLog>
beforeAll(async () => {
  database = await testDatabase()
  admin = new SQL({ url: await superuserOfTests(), max: 1 })
})
beforeEach(() => {
  log = recordingLog()
})
afterAll(async () => {
  await admin.close()
  await database.drop()
})

const prepare = (options: Partial<RoleOptions> = {}) =>
  prepareDatabase({ ownerUrl: database.ownerUrl, ...options, clock: systemClock, log })
const as = (username: string, password: string) => {
  const url = new URL(database.url)
  url.username = username
  url.password = password
  return url.href
}
const warnings = () =>
  log.entries.filter(({ level }) => level === 'warn').map(({ message }) => message)
/** The row of a role in the catalog, with the transaction that wrote it and its password. */
const roleRow = async (name: string) => {
  const [row] = await admin`
    select xmin::text, rolpassword, rolcanlogin from pg_authid where rolname = ${name}`
  return row as { xmin: string; rolpassword: string } | undefined
}

describe('a server’s role that is there', () => {
  test('is used as it is, at every start', async () => {
    const before = await roleRow(new URL(database.url).username)
    for (let n = 0; n < 2; n++) {
      expect(await prepare()).toEqual({ url: database.url, separated: true })
    }
    expect(warnings()).toEqual([])
    expect(await roleRow(new URL(database.url).username)).toEqual(before)
  })

  test('is the one that DATABASE_SERVER_URL names', async () => {
    await admin.unsafe(`create role "Another one" login noinherit password 'p@ss'`)
    const before = await roleRow('Another one')
    const serverUrl = as('Another one', 'p@ss')
    expect(await prepare({ serverUrl })).toEqual({ url: serverUrl, separated: true })
    expect(await roleRow('Another one')).toEqual(before)
    const works = (sql: SQL) => sql`select count(*)::int as n from users`
    expect((await query(serverUrl, works))[0]).toEqual({ n: 0 })
    const [{ may }] = await admin`
      select count(*)::int as may from pg_roles where rolname = 'Another one' and rolsuper`
    expect(may).toBe(0)
  })

  test('gets a new password when the owner has one, where the owner may make roles', async () => {
    const role = new URL(database.url).username
    await admin.unsafe(`alter role ${role} password 'made from another one'`)
    await expect(prepare()).rejects.toThrow(/does not let the role .* in with the password/)
    await admin.unsafe(`alter role rialto_owner createrole`)
    await admin.unsafe(`grant ${role} to rialto_owner with admin option, inherit false, set false`)
    try {
      expect(await prepare()).toEqual({ url: database.url, separated: true })
    } finally {
      await admin.unsafe(`revoke ${role} from rialto_owner`)
      await admin.unsafe(`alter role rialto_owner nocreaterole`)
    }
    await query(database.url, (sql) => sql`select 1`)
  })

  test.each([
    ['whose password is another one', 'login', 'with the password of DATABASE_SERVER_URL'],
    ['that may not log in', 'nologin', 'with the password of DATABASE_SERVER_URL'],
    ['that is a superuser', 'superuser', 'more than the server may be'],
    ['that makes roles', 'createrole', 'more than the server may be'],
  ])('%s is refused', async (_what, attribute, sentence) => {
    const name = `refused_${attribute}`
    await admin.unsafe(`create role ${name} ${attribute} password 'right'`)
    const serverUrl = as(name, attribute === 'login' ? 'wrong' : 'right')
    await expect(prepare({ serverUrl })).rejects.toThrow(sentence)
  })

  test.each([
    ['can become the owner', 'rialto_owner'],
    ['can write everything', 'pg_write_all_data'],
    ['can run programs', 'pg_execute_server_program'],
  ])('that %s is refused', async (_what, membership) => {
    const name = `member_of_${membership}`
    await admin.unsafe(`create role ${name} login noinherit password 'p' in role ${membership}`)
    const refused = expect(prepare({ serverUrl: as(name, 'p') })).rejects
    await refused.toThrow('more than the server may be')
  })

  test('and is the owner is refused', async () => {
    const refused = expect(prepare({ serverUrl: database.ownerUrl })).rejects
    await refused.toThrow('more than the server may be')
  })

  test('of another database is refused', async () => {
    const url = new URL(database.url)
    url.pathname = '/postgres'
    const refused = expect(prepare({ serverUrl: url.href })).rejects
    await refused.toThrow('DATABASE_SERVER_URL leads to the database postgres')
  })
})

describe('a server’s role that is missing', () => {
  /** A database whose owner is somebody of this test, with no role for the server. */
  async function without(attributes: string) {
    const empty = await emptyDatabase()
    const role = new URL(empty.url).username
    const name = new URL(empty.ownerUrl).pathname.slice(1)
    await admin.unsafe(`drop role ${role}`)
    await admin.unsafe(`create role owner_of_${name} login ${attributes} password 'secret'`)
    await admin.unsafe(`alter database ${name} owner to owner_of_${name}`)
    const url = new URL(empty.ownerUrl)
    url.username = `owner_of_${name}`
    url.password = 'secret'
    return { ownerUrl: url.href, role, drop: empty.drop }
  }

  test('is made once by an owner who may, however many instances start together', async () => {
    const { ownerUrl, role, drop } = await without('createrole')
    const starts = await Promise.all([1, 2, 3, 4].map(() => prepare({ ownerUrl })))
    const url = new URL(ownerUrl)
    url.username = role
    url.password = serverPassword('secret', role)
    for (const start of starts) expect(start).toEqual({ url: url.href, separated: true })
    expect(warnings()).toEqual([])
    // From then on the owner needs to make none.
    await admin.unsafe(`alter role ${new URL(ownerUrl).username} nocreaterole`)
    expect(await prepare({ ownerUrl })).toEqual({ url: url.href, separated: true })
    await drop()
  })

  test('stops the start where the owner may not make it: nobody works as the owner', async () => {
    const { ownerUrl, role, drop } = await without('')
    await expect(prepare({ ownerUrl })).rejects.toThrow(
      `The server needs a role of its own, and the owner in DATABASE_URL may not make ${role}`,
    )
    expect(await roleRow(role)).toBeUndefined()
    // The operator's choice, said at each start.
    const single = { url: ownerUrl, separated: false }
    expect(await prepare({ ownerUrl, singleRole: true })).toEqual(single)
    expect(warnings()).toEqual([
      'DATABASE_SINGLE_ROLE: the server works as the owner of the tables',
    ])
    await drop()
  })

  test('and that DATABASE_SERVER_URL names is not made', async () => {
    const refused = expect(prepare({ serverUrl: as('nobody_there', 'p') })).rejects
    await refused.toThrow('no role "nobody_there"')
  })
})

test('an owner who is not the database’s says that temporary tables are left', async () => {
  const empty = await emptyDatabase()
  const name = new URL(empty.ownerUrl).pathname.slice(1)
  await admin.unsafe(`alter database ${name} owner to postgres`)
  await admin.unsafe(`grant create on database ${name} to rialto_owner`)
  await query((await superuserOfTests()).replace(/postgres$/, name), (sql) =>
    sql.unsafe('grant create on schema public to rialto_owner'),
  )
  await prepare({ ownerUrl: empty.ownerUrl })
  expect(warnings()).toEqual([
    'the server’s role may make temporary tables, which the owner cannot take from it',
  ])
  await empty.drop()
})
