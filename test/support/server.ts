import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Config, loadConfig } from '../../src/config.ts'
import { LIMITS, type LimitTable } from '../../src/kernel/limits.ts'
import { type RunningServer, type ServerOptions, startServer } from '../../src/server.ts'
import { type TestDatabase, testDatabase } from './database.ts'
import { quietLog } from './log.ts'
import { CHEAP_PASSWORDS } from './passwords.ts'

/** A whole server on a database of its own (or a shared one), on a free port of loopback. */
export interface TestServer extends RunningServer {
  readonly url: string
  readonly wsUrl: string
  readonly database: TestDatabase
}

export interface TestServerOptions extends Omit<Partial<ServerOptions>, 'config'> {
  /** More environment variables. */
  readonly env?: Record<string, string>
  /** Share another server's database: a second instance of the same product. */
  readonly database?: TestDatabase
}

/** Limits that a test does not run into unless it wants to. */
export const generousLimits = Object.fromEntries(
  Object.keys(LIMITS).map((name) => [name, { burst: 1e6, perSecond: 1e6, why: 'tests' }]),
) as unknown as LimitTable

/** Secrets that all instances of a test share, as they would in production. */
const SHARED = {
  JWT_SECRET: 'a-secret-of-the-tests-at-least-32-bytes-long',
  MASTER_ENCRYPTION_KEY: '00'.repeat(32),
}

/** A configuration as the tests want it, from the same code as the server's. */
export function testConfig(env: Record<string, string>, dataDir: string): Config {
  const base = { ENVIRONMENT: 'test', NODE_ENV: 'test', HOST: '127.0.0.1', LOG_LEVEL: 'error' }
  return loadConfig({ env: { ...base, ...SHARED, DATA_DIR: dataDir, ...env }, cwd: dataDir })
}

/** Starts a server for a test; stop it in `afterAll` or `finally`. */
export async function testServer(options: TestServerOptions = {}): Promise<TestServer> {
  const { env = {}, database: shared, ...rest } = options
  const folder = mkdtempSync(join(tmpdir(), 'rialto-server-'))
  const database = shared ?? (await testDatabase())
  const config = testConfig(
    { PORT: '0', DATABASE_URL: database.ownerUrl, RATE_LIMITS: 'off', ...env },
    folder,
  )
  const server = await startServer({
    config,
    log: quietLog,
    limits: generousLimits,
    parts: CHEAP_PASSWORDS,
    ...rest,
  })
  return {
    ...server,
    database,
    url: `http://127.0.0.1:${server.port}`,
    wsUrl: `ws://127.0.0.1:${server.port}/ws`,
    async stop() {
      await server.stop()
      if (shared === undefined) await database.drop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
