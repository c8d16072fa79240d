import { SQL } from 'bun'
import type { Sealer } from '../../src/audit/sealer.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { input, t } from '../../src/base/schema.ts'
import type { loadConfig } from '../../src/config.ts'
import type { Actor, RequestInfo, user } from '../../src/kernel/access.ts'
import type { feature } from '../../src/kernel/feature.ts'
import type { Operation, operation } from '../../src/kernel/operation.ts'
import { createLogger } from '../../src/observe/log.ts'
import type { RunningServer, startServer } from '../../src/server.ts'
import { take } from './modules.ts'
import { measure, repeat, type TurnOptions } from './workload.ts'

const CLIENTS = 32
/** Lines that are inserted and sealed at a time. */
const LINES = 1_000

const line = () => ({
  action: 'bench.row_stored',
  target: { type: 'row', id: crypto.randomUUID() },
  after: { text: 'a row' },
})

const actor: Actor = {
  kind: 'user',
  userId: crypto.randomUUID(),
  sessionId: crypto.randomUUID(),
  roles: ['user'],
  mfa: false,
  expiresAtMs: Number.MAX_SAFE_INTEGER,
}
const request: RequestInfo = {
  id: crypto.randomUUID(),
  transport: 'rest',
  address: '203.0.113.7',
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  connectionId: undefined,
}

/** An operation that inserts one row, with or without a line about it. */
async function inserting(folder: string): Promise<Operation> {
  const schema = ['src/base/schema.ts', 'src/kernel/schema.ts'] as const
  const types = await take<typeof t>(folder, 't', ...schema)
  const given = await take<typeof input>(folder, 'input', ...schema)
  const operations = 'src/kernel/operation.ts'
  const users = await take<typeof user>(folder, 'user', 'src/kernel/access.ts', operations)
  const define = await take<typeof operation>(folder, 'operation', operations)
  return define('bench.insert', {
    summary: 'One row, with or without a line about it',
    access: users(),
    limit: 'write',
    input: given({ text: types.String(), audited: types.Boolean() }),
    output: types.Object({}),
    async handler({ tx, audit }, { text, audited }) {
      await tx.sql`insert into bench_rows (owner, text) values (${actor.userId}, ${text})`
      if (audited) audit(line())
      return {}
    },
  })
}

async function serverOf(options: TurnOptions, insert: Operation): Promise<RunningServer> {
  const { folder, dataDir, databaseUrl } = options
  const config = await take<typeof loadConfig>(folder, 'loadConfig', 'src/config.ts')
  const define = await take<typeof feature>(folder, 'feature', 'src/kernel/feature.ts')
  const start = await take<typeof startServer>(folder, 'startServer', 'src/server.ts')
  const env = {
    HOST: '127.0.0.1',
    PORT: '0',
    NODE_ENV: 'test',
    DATA_DIR: dataDir,
    DATABASE_URL: databaseUrl,
    RATE_LIMITS: 'off',
  }
  return await start({
    config: config({ env, cwd: dataDir }),
    log: createLogger({ level: 'error', clock: systemClock }),
    features: [define({ name: 'bench', operations: [insert] })],
  })
}

/** What a line of the audit log costs a transaction, and what sealing it costs. */
export async function audit(options: TurnOptions): Promise<void> {
  const insert = await inserting(options.folder)
  const server = await serverOf(options, insert)
  const { kernel, executor } = server
  const sealing = await take<typeof Sealer>(options.folder, 'Sealer', 'src/audit/sealer.ts')
  const owner = new SQL({ url: options.databaseUrl, max: 1 })
  await owner.unsafe(`create table bench_rows (
      id bigint generated always as identity primary key, owner uuid, text text);
    grant insert on bench_rows to public`)
  await owner.close()
  const inserts = (audited: boolean) => (seconds: number) =>
    repeat(CLIENTS, seconds, async () => {
      const given = { actor, request, input: { text: 'a row', audited }, key: undefined }
      return await executor.execute(insert, given)
    })
  await measure(options, { name: 'audit-plain', work: inserts(false) })
  await measure(options, { name: 'audit-line', work: inserts(true) })
  await kernel.use(sealing).seal()
  const seal = async (seconds: number) => {
    const batches = await repeat(1, seconds, async () => {
      const lines = Array.from({ length: LINES }, () => ({ ...line(), caller: actor, request }))
      await kernel.audit.insert(kernel.db.sql, lines)
      await kernel.use(sealing).seal()
    })
    return batches * LINES
  }
  await measure(options, { name: 'audit-sealing', work: seal })
  await server.stop()
}
