import {
  chownSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { SQL } from 'bun'
import { describe, expect, test } from 'bun:test'
import { startEmbeddedPostgres } from '../../db/embedded.ts'
import { obtainCredentials } from '../../db/embedded/cluster.ts'
import { superuserUrl } from '../../db/embedded/database.ts'
import { identify, isAlive } from '../../db/embedded/postmaster.ts'
import { embeddedPostgres, gone, isRoot, NOBODY, query } from '../support/embedded.ts'

const { copiedFolder, sharedFolder, start, startOther } = embeddedPostgres()

describe('a first start', () => {
  test('makes a durable database for an owner without superuser rights', async () => {
    const dataDir = await sharedFolder()
    expect(readdirSync(dataDir)).not.toContain('cluster.new')
    const { ownerUrl, adopted } = await start(dataDir)
    expect(adopted).toBeFalse()
    const [row] = await query(
      ownerUrl,
      (sql) => sql`select current_database() as database, current_user as role,
        rolsuper as super, rolcreatedb as databases, rolcreaterole as roles,
        pg_get_userbyid(datdba) as owner, lower('ÄÉ') as lower,
        current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit,
        current_setting('listen_addresses') as listen
        from pg_roles, pg_database where rolname = current_user and datname = current_database()`,
    )
    expect(row).toEqual({
      database: 'rialto',
      role: 'rialto_owner',
      super: false,
      databases: false,
      roles: false,
      owner: 'rialto_owner',
      lower: 'äé',
      fsync: 'on',
      commit: 'on',
      listen: '127.0.0.1',
    })
  }, 30_000)

  test('nobody gets in without the password, and the folder is closed', async () => {
    const dataDir = await sharedFolder()
    const { ownerUrl, port } = await start(dataDir)
    const wrong = ownerUrl.replace(/:[^:@]+@/, ':wrong@')
    await expect(query(wrong, (sql) => sql`select 1`)).rejects.toThrow(/password/)
    const superuser = `postgres://postgres@127.0.0.1:${port}/postgres`
    await expect(query(superuser, (sql) => sql`select 1`)).rejects.toThrow()
    for (const name of ['credentials.json', 'postgres.log', 'lock', 'owner.json', 'cluster']) {
      expect(statSync(join(dataDir, name)).mode & 0o077).toBe(0)
    }
  })

  test('of a later version takes from its owner what only its making needed', async () => {
    const dataDir = await sharedFolder()
    const before = await start(dataDir)
    const superuser = superuserUrl(before.port, obtainCredentials(dataDir, 'cluster'))
    const may = (url: string) =>
      query(url, async (sql) => {
        const [role] = await sql`
          select rolcreaterole or rolcreatedb as may from pg_roles where rolname = current_user`
        return role.may as boolean
      })
    // As earlier versions made it.
    await query(superuser, (sql) => sql`alter role rialto_owner createrole createdb`)
    expect(await may(before.ownerUrl)).toBeTrue()
    await before.stop()
    expect(await may((await start(dataDir)).ownerUrl)).toBeFalse()
  })

  test('that is cut off before the database was made makes it next time', async () => {
    const dataDir = await sharedFolder()
    const before = await start(dataDir)
    const { superuser } = JSON.parse(readFileSync(join(dataDir, 'credentials.json'), 'utf8'))
    const url = `postgres://postgres:${superuser}@127.0.0.1:${before.port}/postgres`
    await query(url, async (sql) => {
      await sql`drop database rialto`
      await sql`drop role rialto_owner`
    })
    await before.stop()
    const { ownerUrl } = await start(dataDir)
    await query(ownerUrl, (sql) => sql`create table kept (value int)`)
  })
})

describe('a later start', () => {
  test('finds what was stored, on the same port', async () => {
    const dataDir = await sharedFolder()
    const first = await start(dataDir)
    await query(first.ownerUrl, (sql) => sql`insert into kept values (7)`)
    await first.stop()
    expect(isAlive(first.pid)).toBeFalse()
    const second = await start(dataDir)
    expect(second.port).toBe(first.port)
    expect(
      await query(second.ownerUrl, (sql) => sql`select value from kept where value = 7`),
    ).toEqual([{ value: 7 }])
  })

  test('takes another port when the last one is taken', async () => {
    const dataDir = await sharedFolder()
    const { port, stop } = await start(dataDir)
    await stop()
    using _taken = Bun.listen({ hostname: '127.0.0.1', port, socket: { data() {} } })
    const other = await start(dataDir)
    expect(other.port).not.toBe(port)
  })

  test('recovers after PostgreSQL itself was killed', async () => {
    const dataDir = await sharedFolder()
    const first = await start(dataDir)
    await query(first.ownerUrl, (sql) => sql`insert into kept values (8)`)
    process.kill(first.pid, 'SIGKILL')
    await gone(first.pid)
    await first.stop()
    const second = await start(dataDir)
    expect(
      await query(second.ownerUrl, (sql) => sql`select value from kept where value = 8`),
    ).toEqual([{ value: 8 }])
  })

  test('takes settings, and refuses wrong ones with the words of PostgreSQL', async () => {
    const dataDir = await sharedFolder()
    const settings = { max_connections: '17' }
    const { ownerUrl, stop } = await start(dataDir, { settings })
    const shown = await query(ownerUrl, (sql) => sql`show max_connections`)
    expect(shown).toEqual([{ max_connections: '17' }])
    await stop()
    await expect(start(dataDir, { settings: { max_connections: 'many' } })).rejects.toThrow(
      /did not start[^]*invalid value for parameter "max_connections": "many"/,
    )
    // A failed start has let go of the folder.
    await start(dataDir)
  })

  test('writes neither statements nor values to its log', async () => {
    const dataDir = await sharedFolder()
    const { ownerUrl } = await start(dataDir)
    await query(ownerUrl, async (sql) => {
      await sql`create table u (word text primary key)`
      await sql`insert into u values ('canary-value')`
      await sql`insert into u values ('canary-value')`.catch(() => {})
      await sql`select ${'canary-value'}::int`.catch(() => {})
      await sql.unsafe(`select 'canary-value' from nowhere`).catch(() => {})
    })
    const log = readFileSync(join(dataDir, 'postgres.log'), 'utf8')
    expect(log).toContain('ready to accept connections')
    expect(log).not.toContain('canary-value')
  })

  test('keeps its log small', async () => {
    const dataDir = await sharedFolder()
    writeFileSync(join(dataDir, 'postgres.log'), 'x'.repeat(1_000_001))
    await start(dataDir)
    expect(statSync(join(dataDir, 'postgres.log')).size).toBeLessThan(10_000)
    expect(statSync(join(dataDir, 'postgres.log.1')).size).toBe(1_000_001)
  })
})

describe('processes', () => {
  test('a PostgreSQL left by kill -9 is adopted, and stopped by its new owner', async () => {
    const dataDir = await sharedFolder()
    const killed = await startOther(dataDir)
    await killed.kill()
    expect(isAlive(killed.said.pid)).toBeTrue()
    const { pid, adopted, ownerUrl, stop } = await start(dataDir)
    expect({ pid, adopted }).toEqual({ pid: killed.said.pid, adopted: true })
    await query(ownerUrl, (sql) => sql`insert into kept values (1)`)
    await stop()
    expect(isAlive(pid)).toBeFalse()
    expect(existsSync(join(dataDir, 'cluster/postmaster.pid'))).toBeFalse()
  })

  test('one that was started with other settings is replaced', async () => {
    const dataDir = await sharedFolder()
    const killed = await startOther(dataDir)
    await killed.kill()
    const { pid, adopted } = await start(dataDir, { settings: { work_mem: '5MB' } })
    expect(adopted).toBeFalse()
    expect(pid).not.toBe(killed.said.pid)
    expect(isAlive(killed.said.pid)).toBeFalse()
  })

  test('one that does not take our password is replaced, then refused for its reason', async () => {
    const dataDir = await sharedFolder()
    const killed = await startOther(dataDir)
    await killed.kill()
    const credentials = join(dataDir, 'credentials.json')
    const kept = readFileSync(credentials)
    writeFileSync(credentials, JSON.stringify({ superuser: 'lost', owner: 'lost' }))
    await expect(start(dataDir)).rejects.toThrow(/does not take the passwords/)
    writeFileSync(credentials, kept)
    expect(isAlive(killed.said.pid)).toBeFalse()
  })

  test('a second process is refused by name, and the first goes on', async () => {
    const dataDir = await sharedFolder()
    const { ownerUrl } = await start(dataDir)
    const second = await startOther(dataDir)
    expect(second.said.error).toContain(`in use by another Rialto process (process ${process.pid}`)
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(/in use by another/)
    await query(ownerUrl, (sql) => sql`insert into kept values (1)`)
  })

  test('of two that start at once, one is served', async () => {
    const dataDir = await sharedFolder()
    const both = await Promise.all([startOther(dataDir), startOther(dataDir)])
    expect(both.filter(({ said }) => said.error === undefined)).toHaveLength(1)
    await Promise.all(both.map((other) => other.tell('stop')))
  })

  test('PostgreSQL is in a session of its own, and sees nothing of our environment', async () => {
    const { pid } = await start(await sharedFolder())
    if (process.platform !== 'linux') return
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    expect(Number(stat[3])).toBe(pid)
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
    expect(environment).not.toContain('HOME=')
  })

  test('a process that just ends stops it', async () => {
    const dataDir = await sharedFolder()
    const other = await startOther(dataDir)
    await other.tell('exit')
    expect(await gone(other.said.pid)).toBeTrue()
  })

  test('stopping waits, also for an adopted one, and may be asked twice', async () => {
    const dataDir = await sharedFolder()
    const killed = await startOther(dataDir)
    await killed.kill()
    const adopter = await startOther(dataDir)
    expect(adopter.said.adopted).toBeTrue()
    await adopter.tell('stop')
    expect(isAlive(adopter.said.pid)).toBeFalse()
    const server = await start(dataDir)
    await Promise.all([server.stop(), server.stop()])
    expect(isAlive(server.pid)).toBeFalse()
  })

  test('open sessions do not hold up the stop', async () => {
    const { ownerUrl, stop } = await start(await sharedFolder())
    const sql = new SQL({ url: ownerUrl, max: 1 })
    const sleeping = sql`select pg_sleep(60)`.catch((error: Error) => error)
    await Bun.sleep(50)
    const startMs = performance.now()
    await stop()
    expect(performance.now() - startMs).toBeLessThan(5_000)
    expect(await sleeping).toBeInstanceOf(Error)
    await sql.close()
  })
})

describe('pid files', () => {
  const pidFile = (dataDir: string) => join(dataDir, 'cluster/postmaster.pid')
  const body = (pid: number, dataDir: string) =>
    [
      pid,
      join(dataDir, 'cluster'),
      1_700_000_000,
      54_321,
      '',
      '127.0.0.1',
      '1234567 0',
      'ready',
      '',
    ].join('\n')

  test('of a dead process does not hinder the start', async () => {
    const dataDir = await sharedFolder()
    const dead = Bun.spawnSync(['true']).pid
    writeFileSync(pidFile(dataDir), body(dead, dataDir))
    expect((await start(dataDir)).adopted).toBeFalse()
  })

  test('whose id another program was given hurts neither', async () => {
    const dataDir = await sharedFolder()
    // Under the account of PostgreSQL, which would refuse to start next to it.
    const account = isRoot ? NOBODY : {}
    const other = Bun.spawn(['sleep', '60'], account)
    try {
      const path = pidFile(dataDir)
      writeFileSync(path, body(other.pid, dataDir))
      if (isRoot) chownSync(path, NOBODY.uid, NOBODY.gid)
      expect(identify(other.pid, join(dataDir, 'cluster'))).toBe('foreign')
      const server = await start(dataDir)
      expect(server.adopted).toBeFalse()
      expect(other.exitCode).toBeNull()
    } finally {
      other.kill()
    }
  })

  test('of the PostgreSQL of another folder leaves that one alone', async () => {
    const [one, other] = [await sharedFolder(), await copiedFolder()]
    const neighbour = await start(one)
    cpSync(pidFile(one), pidFile(other))
    if (isRoot) chownSync(pidFile(other), NOBODY.uid, NOBODY.gid)
    const server = await start(other)
    expect(server.pid).not.toBe(neighbour.pid)
    expect(isAlive(neighbour.pid)).toBeTrue()
  })

  test('that are damaged are set aside', async () => {
    const dataDir = await sharedFolder()
    writeFileSync(pidFile(dataDir), '')
    await start(dataDir)
    rmSync(`${pidFile(dataDir)}.damaged`)
  })
})
