/** Starting, killing and looking at embedded PostgreSQLs, with nothing left behind. */

import { afterAll, afterEach, beforeAll, expect } from 'bun:test'
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SQL } from 'bun'
import { startEmbeddedPostgres } from '../../db/embedded.ts'
import type { EmbeddedOptions, EmbeddedPostgres } from '../../db/embedded.ts'
import { isAlive } from '../../db/embedded/postmaster.ts'

export const isRoot = process.getuid?.() === 0
export const NOBODY = { uid: 65_534, gid: 65_534 }

/** Runs statements on a connection of their own. */
export async function query<T>(url: string, work: (sql: SQL) => Promise<T>): Promise<T> {
  const sql = new SQL({ url, max: 1 })
  try {
    return await work(sql)
  } finally {
    await sql.close()
  }
}

/** Whether a process ends within 5 s. */
export async function gone(pid: number): Promise<boolean> {
  for (let i = 0; i < 1_000 && isAlive(pid); i++) await Bun.sleep(5)
  return !isAlive(pid)
}

interface OtherOptions {
  readonly uid?: number
  readonly gid?: number
  readonly script?: string
}

/** Another Rialto process, as far as the database is concerned. */
class Other {
  private constructor(
    private readonly child: Bun.Subprocess<'pipe', 'pipe', 'inherit'>,
    readonly said: { pid: number; adopted: boolean; error?: string },
  ) {}

  static async start(dataDir: string, { script, ...account }: OtherOptions): Promise<Other> {
    const program = script ?? join(import.meta.dir, 'embedded-process.ts')
    const child = Bun.spawn([process.execPath, '--no-env-file', program, dataDir], {
      ...account,
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    for await (const chunk of child.stdout) {
      return new Other(child, JSON.parse(new TextDecoder().decode(chunk)))
    }
    throw new Error('the process said nothing')
  }

  async tell(word: 'exit' | 'stop') {
    void this.child.stdin.write(`${word}\n`)
    await this.child.stdin.flush()
    await this.child.exited
  }

  async kill() {
    this.child.kill('SIGKILL')
    await this.child.exited
  }
}

/** Embedded PostgreSQLs for one test file: stopped after each test, removed after the last. */
export function embeddedPostgres() {
  const top = join(tmpdir(), `rialto-embedded-${randomUUID()}`)
  const running: EmbeddedPostgres[] = []
  const others: Other[] = []
  let made: Promise<string> | undefined

  const start = async (dataDir: string, options: Partial<EmbeddedOptions> = {}) => {
    const server = await startEmbeddedPostgres({ dataDir, ...options })
    running.push(server)
    return server
  }

  const startOther = async (dataDir: string, options: OtherOptions = {}) => {
    const other = await Other.start(dataDir, options)
    others.push(other)
    return other
  }

  /**
   * A folder with a stopped cluster; tests leave it as good as they found it. Where it is made, a
   * first start was cut off before.
   */
  const sharedFolder = () => {
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

  const copiedFolder = async () => {
    const dataDir = join(top, 'copy')
    expect(Bun.spawnSync(['cp', '-a', await sharedFolder(), dataDir]).exitCode).toBe(0)
    return dataDir
  }

  beforeAll(() => {
    // Others may look, as PostgreSQL's account has to.
    mkdirSync(top, { mode: 0o755 })
  })
  afterEach(async () => {
    for (const other of others.splice(0)) await other.kill()
    for (const server of running.splice(0)) await server.stop()
    // A PostgreSQL that a killed process has left and that no test has adopted.
    const dataDir = await made
    if (dataDir && existsSync(join(dataDir, 'cluster/postmaster.pid'))) {
      await (await startEmbeddedPostgres({ dataDir })).stop()
    }
  })
  afterAll(() => rmSync(top, { recursive: true, force: true }))

  return { top, start, startOther, sharedFolder, copiedFolder }
}
