import { SQL } from 'bun'
import { deriveKeys, withKeptKeys } from '../../src/audit/keys.ts'
import { Sealer } from '../../src/audit/sealer.ts'
import { type Report, verifyLog } from '../../src/audit/verify.ts'
import type { Damage } from '../../src/audit/walk.ts'
import type { RequestInfo } from '../../src/kernel/access.ts'
import type { AuditLine } from '../../src/kernel/effects.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'

/** A call from the network, as lines tell of it. */
export const request: RequestInfo = {
  id: 'a-request-of-the-tests',
  transport: 'rest',
  address: '203.0.113.7',
  userAgent: 'Tests/1.0',
  connectionId: undefined,
}

/** A line with personal data about somebody. */
export function lineAbout(subjectId: string, n = 0): AuditLine {
  return {
    action: 'tests.written',
    actorId: subjectId,
    target: { type: 'thing', id: `thing-${n}` },
    before: { n: n - 1 },
    after: { n, text: `the ${n}th`, amount: 0.1 + n },
    personal: { name: `Ada the ${n}th` },
    subjectId,
    caller: null,
    request,
  }
}

/** Writes and seals lines about `subjectId`, numbered from `from`. */
export async function writeLines(
  kernel: Kernel,
  count: number,
  subjectId: string,
  from = 1,
): Promise<void> {
  const lines = Array.from({ length: count }, (_, n) => lineAbout(subjectId, from + n))
  await kernel.audit.insert(kernel.db.sql, lines)
  await kernel.use(Sealer).seal()
}

/** Verifies the whole log as `audit:verify` does. */
export async function verify(kernel: Kernel, untilMs?: number): Promise<Report> {
  const { config, db, vault, clock } = kernel
  const keys = await withKeptKeys(db.sql, vault, deriveKeys(config.masterKeys))
  const folders = config.audit.checkpointDirs
  const options = { keys, folders, nowMs: clock.now() }
  return await verifyLog(db.sql, untilMs === undefined ? options : { ...options, untilMs })
}

/** Damages as a test compares them. */
export const found = ({ first }: Report) =>
  first.map(({ position, kind }: Damage) => `${position} ${kind}`)

/** Works as the owner of the database, whom no right keeps from anything. */
export async function asOwner<T>(ownerUrl: string, work: (sql: SQL) => Promise<T>): Promise<T> {
  const sql = new SQL({ url: ownerUrl, max: 1 })
  try {
    return await work(sql)
  } finally {
    await sql.close()
  }
}
