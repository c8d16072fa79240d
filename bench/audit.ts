/**
 * What the audit log costs: `bun run bench:audit [--rounds 7] [--secs 2] [--clients 32]`.
 *
 * Two operations, called in process by so many clients at once: one that inserts a single row, the
 * least that a transaction can do, and one of the shape of a transfer (two rows locked and changed,
 * one inserted, under an idempotency key). Each without an audit line, with one, and with one while
 * one inserted, under an idempotency key). Each without an audit line, with one, and with one while
 * and verified. PostgreSQL is the embedded one with its defaults (fsync on), in a temporary folder,
 * on the same cores.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { SQL } from 'bun'
import { startEmbeddedPostgres } from '../db/embedded.ts'
import { deriveKeys } from '../src/audit/keys.ts'
import { Sealer } from '../src/audit/sealer.ts'
import { verifyLog } from '../src/audit/verify.ts'
import { systemClock } from '../src/base/clock.ts'
import { randomInt } from '../src/base/ids.ts'
import { input, t } from '../src/base/schema.ts'
import { loadConfig } from '../src/config.ts'
import { type Actor, type RequestInfo, user } from '../src/kernel/access.ts'
import type { AuditEntry } from '../src/kernel/effects.ts'
import { feature } from '../src/kernel/feature.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { type Operation, operation } from '../src/kernel/operation.ts'
import { createLogger } from '../src/observe/log.ts'
import { type RunningServer, startServer } from '../src/server.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    secs: { type: 'string', default: '2' },
    clients: { type: 'string', default: '32' },
    backlog: { type: 'string', default: '40000' },
  },
})

const Input = input({ text: t.String(), audited: t.Boolean() })
const line = (text: string): AuditEntry => ({
  action: 'bench.row_stored',
  target: { type: 'row', id: crypto.randomUUID() },
  after: { text },
})

const insert = operation('bench.insert', {
  summary: 'One row, with or without a line about it',
  access: user(),
  limit: 'write',
  input: Input,
  output: t.Object({}),
  async handler({ tx, audit, actor }, { text, audited }) {
    await tx.sql`insert into bench_rows (owner, text) values (${actor.userId}, ${text})`
    if (audited) audit(line(text))
    return {}
  },
})

const ACCOUNTS = 1_000

const transfer = operation('bench.transfer', {
  summary: 'From one account to another, with or without a line about it',
  access: user(),
  limit: 'write',
  input: Input,
  output: t.Object({}),
  idempotent: true,
  async handler({ tx, audit, actor }, { text, audited }) {
    const from = 1 + randomInt(ACCOUNTS)
    const to = 1 + randomInt(ACCOUNTS)
    await tx.sql`
      select balance from bench_accounts where id in (${from}, ${to}) order by id for update`
    await tx.sql`
      update bench_accounts set balance = balance + case id when ${to} then 1 else -1 end
      where id in (${from}, ${to})`
    await tx.sql`insert into bench_rows (owner, text) values (${actor.userId}, ${text})`
    if (audited) audit(line(text))
    return {}
  },
})

type Variant = 'plain' | 'audited' | 'sealed'
const VARIANTS: readonly Variant[] = ['plain', 'audited', 'sealed']

const actors = Array.from({ length: Number(values.clients) }, (): Actor => ({
  kind: 'user',
  userId: crypto.randomUUID(),
  sessionId: crypto.randomUUID(),
  roles: ['user'],
  mfa: false,
  expiresAtMs: Number.MAX_SAFE_INTEGER,
}))
const request: RequestInfo = {
  id: crypto.randomUUID(),
  transport: 'rest',
  address: '203.0.113.7',
  userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  connectionId: undefined,
}

/** Transactions a second. */
async function rate(
  { executor }: RunningServer,
  operation: Operation,
  audited: boolean,
): Promise<number> {
  const startMs = performance.now()
  const endMs = startMs + Number(values.secs) * 1_000
  let done = 0
  await Promise.all(
    actors.map(async (actor) => {
      while (performance.now() < endMs) {
        const key = operation.idempotent ? crypto.randomUUID() : undefined
        await executor.execute(operation, {
          actor,
          request,
          input: { text: 'a row', audited },
          key,
        })
        done++
      }
    }),
  )
  return done / ((performance.now() - startMs) / 1_000)
}

const median = (of: readonly number[]) =>
  of.toSorted((a, b) => a - b)[Math.floor(of.length / 2)] ?? Number.NaN

async function measureRates(
  server: RunningServer,
  owner: SQL,
  operation: Operation,
): Promise<void> {
  const rates: Record<Variant, number[]> = { plain: [], audited: [], sealed: [] }
  const sealer = server.kernel.use(Sealer)
  await rate(server, operation, true)
  for (let round = 0; round < Number(values.rounds); round++) {
    for (let n = 0; n < VARIANTS.length; n++) {
      const variant = VARIANTS[(round + n) % VARIANTS.length] as Variant
      await owner`truncate bench_rows, audit_pending, idempotency`
      await owner.unsafe('checkpoint').catch(() => undefined)
      const stop = variant === 'sealed' ? await sealer.start() : undefined
      rates[variant].push(await rate(server, operation, variant !== 'plain'))
      await stop?.()
    }
  }
  const [plain, audited, sealed] = VARIANTS.map((variant) => median(rates[variant]))
  const cost = (of = 0) => `${((1 - of / (plain ?? 0)) * 100).toFixed(1)} % less`
  console.log(`${operation.name}: ${plain?.toFixed(0)} transactions/s without a line`)
  console.log(`  ${audited?.toFixed(0)} with a line: ${cost(audited)}`)
  console.log(`  ${sealed?.toFixed(0)} while lines are sealed as well: ${cost(sealed)}`)
}

async function measureSealing({ kernel }: RunningServer): Promise<void> {
  const backlog = Number(values.backlog)
  await kernel.use(Sealer).seal()
  for (let n = 0; n < backlog; n += 1_000) {
    const caller = actors[0] as Actor
    const lines = Array.from({ length: 1_000 }, () => ({ ...line('a row'), caller, request }))
    await kernel.audit.insert(kernel.db.sql, lines)
  }
  const startMs = performance.now()
  const sealed = await kernel.use(Sealer).seal()
  const seconds = (performance.now() - startMs) / 1_000
  console.log(`a backlog of ${sealed} is sealed at ${(sealed / seconds).toFixed(0)} lines/s`)
  const { config, clock, db } = kernel
  const keys = deriveKeys(config.masterKeys)
  const folders = config.audit.checkpointDirs
  const verifyMs = performance.now()
  const { lines, damages } = await verifyLog(db.sql, { keys, folders, nowMs: clock.now() })
  const rateOf = lines / ((performance.now() - verifyMs) / 1_000)
  console.log(`${lines} lines are verified at ${rateOf.toFixed(0)} lines/s: ${damages} damages`)
}

/** Seconds of a steady stream of lines, and its rate. */
const STREAM = { seconds: 10, linesPerSecond: 4_000, everyMs: 10 }

/** How old lines are when they are sealed, while so many come in every second. */
async function measureLag({ kernel }: RunningServer, owner: SQL): Promise<void> {
  const { audit, db } = kernel
  const [{ position }] = await owner`select position::text as position from audit_head`
  const stop = await kernel.use(Sealer).start()
  const caller = actors[0] as Actor
  const startMs = performance.now()
  for (let sent = 0; sent < STREAM.seconds * STREAM.linesPerSecond;) {
    const due = Math.floor(((performance.now() - startMs) / 1_000) * STREAM.linesPerSecond)
    const lines = Array.from({ length: due - sent }, () => ({ ...line('a row'), caller, request }))
    sent = due
    if (lines.length > 0) await audit.insert(db.sql, lines)
    audit.committed()
    await Bun.sleep(STREAM.everyMs)
  }
  await stop()
  const [lag] = await owner`
    select count(*)::int as lines,
      percentile_cont(array[0.5, 0.99, 1]) within group (
        order by extract(epoch from sealed_at - at) * 1000)::int[] as ms
    from audit_log where position > ${position}::text::bigint`
  const ms = `${[...lag.ms].join(', ')} ms`
  console.log(`${STREAM.linesPerSecond} lines/s: ${lag.lines} sealed after ${ms} (p50, p99, max)`)
}

async function prepare(kernel: Kernel, owner: SQL): Promise<void> {
  const [{ role }] = await kernel.db.sql`select quote_ident(current_user) as role`
  await owner.unsafe(`
    create table bench_rows (
      id bigint generated always as identity primary key, owner uuid, text text,
      created_at timestamptz default now());
    create table bench_accounts (id int primary key, balance bigint) with (fillfactor = 50);
    insert into bench_accounts select n, 0 from generate_series(1, ${ACCOUNTS}) n;
    grant insert on bench_rows to ${role};
    grant select, update on bench_accounts to ${role};`)
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'rialto-bench-audit-'))
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'postgres') })
  const owner = new SQL({ url: postgres.ownerUrl, max: 1 })
  try {
    const server = await startServer({
      config: loadConfig({
        env: {
          HOST: '127.0.0.1',
          PORT: '0',
          NODE_ENV: 'test',
          DATA_DIR: folder,
          DATABASE_URL: postgres.ownerUrl,
          RATE_LIMITS: 'off',
        },
        cwd: folder,
      }),
      log: createLogger({ level: 'error', clock: systemClock }),
      features: [feature({ name: 'bench', operations: [insert, transfer] })],
    })
    try {
      await prepare(server.kernel, owner)
      await measureRates(server, owner, insert)
      await measureRates(server, owner, transfer)
      await measureSealing(server)
      await measureLag(server, owner)
    } finally {
      await server.stop()
    }
  } finally {
    await owner.close()
    await postgres.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

await main()
