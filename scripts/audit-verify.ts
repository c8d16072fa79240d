/**
 * Verifies the audit log of the configured database (docs/audit.md):
 *
 *     bun run audit:verify [--checkpoints FOLDER]… [--until TIME] [--accept-restore]
 *
 * Walks the whole chain, checks every line, its place and its personal data, and compares every
 * checkpoint; then says what it has found, and the first damage. Reads only. Ends with 0 when
 * nothing is wrong, 1 when something is, 2 when it could not be looked at.
 */

import { parseArgs } from 'node:util'
import type { SQL } from 'bun'
import { exportCheckpoint, makeCheckpoint } from '../src/audit/checkpoints.ts'
import { type AuditKeys, deriveKeys, withKeptKeys } from '../src/audit/keys.ts'
import { insertLines } from '../src/audit/record.ts'
import { readHead } from '../src/audit/sealer.ts'
import { type Report, verifyLog } from '../src/audit/verify.ts'
import { systemClock } from '../src/base/clock.ts'
import { uuidv7 } from '../src/base/ids.ts'
import { type Config, loadConfig } from '../src/config.ts'
import { features } from '../src/features.ts'
import { internalRequest } from '../src/kernel/access.ts'
import { createVault } from '../src/vault/vault.ts'
import { withAuditDatabase } from './audit-database.ts'

const USAGE = `bun run audit:verify [--checkpoints FOLDER]… [--until TIME] [--accept-restore]
  --checkpoints     where files of checkpoints lie; DATA_DIR/audit and AUDIT_CHECKPOINT_DIR if none
  --until           only checkpoints written by then: for a database restored from a backup of then
  --accept-restore  notes, signed, that lines after the present end were lost by a restoration, if
                    that is all that is wrong`

function readOptions(config: Config) {
  const { values } = parseArgs({
    options: {
      checkpoints: { type: 'string', multiple: true },
      until: { type: 'string' },
      'accept-restore': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    process.exit(0)
  }
  const untilMs = values.until === undefined ? undefined : Date.parse(values.until)
  if (Number.isNaN(untilMs)) throw new Error(`--until is no time: ${values.until}\n${USAGE}`)
  return {
    folders: values.checkpoints ?? config.audit.checkpointDirs,
    untilMs,
    acceptRestore: values['accept-restore'],
  }
}

const time = (ms: number | undefined) => (ms === undefined ? '-' : new Date(ms).toISOString())

function print(report: Report, keys: AuditKeys, seconds: number): void {
  const { start, end, lines, personal, checkpoints, unreadable, damages, first } = report
  const range = lines === 0 ? 'none' : `${start.position + 1} to ${end.position}`
  console.log(`lines           ${lines} (${range}), in ${seconds.toFixed(1)} s`)
  console.log(`from            ${time(report.firstAtMs)}`)
  console.log(`to              ${time(report.lastAtMs)}`)
  if (start.position > 0)
    console.log(`dropped before  line ${start.position + 1}, by a signed trim`)
  console.log(`personal data   ${personal.checked} parts as sealed, ${personal.erased} erased`)
  const { compared, overruled } = checkpoints
  console.log(`checkpoints     ${compared} compared, ${overruled} before a restoration`)
  if (unreadable > 0) console.log(`                ${unreadable} unreadable lines in their files`)
  console.log(`public key      ${keys.current.publicKey} (${keys.current.id})`)
  if (damages === 0) {
    console.log('undamaged')
    return
  }
  console.log(`DAMAGED         ${damages} places, the first at line ${first[0]?.position}`)
  for (const { position, kind, detail } of first) {
    console.log(`  line ${position}: ${kind}: ${detail}`)
  }
}

/** Says in the checkpoints and in the log that the end of the chain was lost and that is known. */
async function acceptRestore(sql: SQL, keys: AuditKeys, folders: readonly string[]): Promise<void> {
  const head = await readHead(sql)
  await exportCheckpoint(folders, makeCheckpoint(keys.current, systemClock, 'restored', head))
  await insertLines(sql, systemClock, [
    {
      action: 'audit.restore_accepted',
      after: { position: head.position },
      caller: null,
      request: internalRequest(uuidv7()),
    },
  ])
  console.log(`accepted: the chain goes on after line ${head.position}`)
}

async function verify(config: Config): Promise<boolean> {
  const { folders, untilMs, acceptRestore: accepting } = readOptions(config)
  return await withAuditDatabase(config, async (sql) => {
    const vault = createVault(config.masterKeys)
    const keys = await withKeptKeys(sql, vault, deriveKeys(config.masterKeys))
    const startMs = systemClock.monotonicMs()
    const report = await verifyLog(sql, {
      keys,
      folders,
      nowMs: systemClock.now(),
      ...(untilMs === undefined ? {} : { untilMs }),
    })
    print(report, keys, (systemClock.monotonicMs() - startMs) / 1_000)
    if (!accepting || report.damages === 0) return report.damages === 0
    const lostEnd = ({ kind }: { kind: string }) => kind === 'truncated'
    if (report.damages > report.first.length || !report.first.every(lostEnd)) {
      console.log('not accepted: there is more wrong than a lost end')
      return false
    }
    await acceptRestore(sql, keys, folders)
    return true
  })
}

try {
  const config = loadConfig({ features: features.map(({ name }) => name) })
  process.exitCode = (await verify(config)) ? 0 : 1
} catch (error) {
  console.error(`audit:verify: ${(error as Error).message}`)
  process.exitCode = 2
}
