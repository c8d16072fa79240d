import { createReadStream, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { SQL } from 'bun'
import { CHECKPOINT_FILE, type Checkpoint, isGenuine, parseCheckpoint } from './checkpoints.ts'
import type { AuditKeys } from './keys.ts'
import { readHead } from './sealer.ts'
import { BEGINNING, type Damage, type Start, walk, type Walked } from './walk.ts'

/** The whole verification: the chain from its beginning, its end, and every checkpoint. */

/** What was found. */
export interface Report extends Walked {
  readonly start: Start
  /** Checkpoints that were compared, and those that a later restoration has overruled. */
  readonly checkpoints: { readonly compared: number; readonly overruled: number }
  /** Lines of checkpoint files that are none: an append that a crash has cut off. */
  readonly unreadable: number
  readonly damages: number
  /** The damages with the lowest positions. */
  readonly first: readonly Damage[]
}

export interface VerifyOptions {
  readonly keys: AuditKeys
  /** Folders with files of checkpoints; those that are not there are left out. */
  readonly folders: readonly string[]
  readonly nowMs: number
  /** Checkpoints written later do not count: for a database that was restored from a backup. */
  readonly untilMs?: number
}

/** Damages that are kept for the report; all are counted. */
const DAMAGES_MAX = 20
const CHECKPOINTS_AT_ONCE = 500

/** Verifies the audit log that `sql` leads to. Reads only. */
export async function verifyLog(sql: SQL, options: VerifyOptions): Promise<Report> {
  const { keys, nowMs } = options
  const damage = collector()
  // Before the walk: the chain may grow meanwhile, but it must not be shorter than this.
  const head = await readHead(sql)
  const special = await specialCheckpoints(sql, options)
  const start = await findStart(sql, special.trims, keys)
  const walked = await walk(sql, { keys, start, nowMs, report: damage.report })
  if (walked.end.position < head.position) {
    const detail = `the head of the chain is at line ${head.position}`
    damage.report({ position: walked.end.position + 1, kind: 'truncated', detail })
  } else if (walked.end.position === head.position && !walked.end.hash.equals(head.hash)) {
    const detail = 'the head of the chain has another hash than its last line'
    damage.report({ position: head.position, kind: 'changed', detail })
  }
  const compared = await compareCheckpoints(sql, options, {
    start,
    end: walked.end,
    restored: special.restored,
    report: damage.report,
  })
  return { ...walked, ...compared, start, damages: damage.count(), first: damage.first() }
}

function collector() {
  let count = 0
  let kept: Damage[] = []
  return {
    report(damage: Damage) {
      count++
      kept.push(damage)
      if (kept.length >= 2 * DAMAGES_MAX) kept = lowest(kept)
    },
    count: () => count,
    first: () => lowest(kept),
  }
}
const lowest = (damages: readonly Damage[]) =>
  damages.toSorted((a, b) => a.position - b.position).slice(0, DAMAGES_MAX)

/** A checkpoint and where it stands. */
interface Placed {
  readonly checkpoint: Checkpoint | undefined
  readonly place: string
}

async function* readCheckpoints({
  folders,
  untilMs,
}: Omit<VerifyOptions, 'nowMs'>): AsyncGenerator<Placed> {
  for (const path of folders.flatMap(checkpointFiles)) {
    let number = 0
    for await (const text of createInterface({ input: createReadStream(path) })) {
      const checkpoint = parseCheckpoint(text)
      const late = checkpoint !== undefined && Date.parse(checkpoint.at) > (untilMs ?? Infinity)
      if (!late) yield { checkpoint, place: `${path}:${++number}` }
    }
  }
}

function checkpointFiles(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => CHECKPOINT_FILE.test(name))
    return names.toSorted().map((name) => join(folder, name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

interface Special {
  readonly trims: readonly Checkpoint[]
  readonly restored: readonly Checkpoint[]
}

/** The few that change what is expected; from the files, and the trims from the database too. */
export async function specialCheckpoints(
  sql: SQL,
  options: Omit<VerifyOptions, 'nowMs'>,
): Promise<Special> {
  const trims: Checkpoint[] = []
  const restored: Checkpoint[] = []
  for await (const { checkpoint } of readCheckpoints(options)) {
    if (checkpoint === undefined || checkpoint.kind === 'checkpoint') continue
    if (!isGenuine(checkpoint, options.keys)) continue
    if (checkpoint.kind === 'trim') trims.push(checkpoint)
    else restored.push(checkpoint)
  }
  const rows = (await sql`select checkpoint from audit_trims`) as { checkpoint: string }[]
  for (const { checkpoint } of rows) {
    const parsed = parseCheckpoint(checkpoint)
    if (parsed?.kind === 'trim') trims.push(parsed)
  }
  return { trims, restored }
}

/** Where the chain begins: at its first line, or where a signed trim says. */
export async function findStart(
  sql: SQL,
  trims: readonly Checkpoint[],
  keys: AuditKeys,
): Promise<Start> {
  const [row] = (await sql`
    select position::float8 as position from audit_log order by position limit 1`) as {
    position: number
  }[]
  const first = row?.position ?? Infinity
  const trim = trims
    .filter((one) => one.position < first && isGenuine(one, keys))
    .toSorted((a, b) => b.position - a.position)[0]
  if (trim === undefined) return BEGINNING
  return { position: trim.position, hash: Buffer.from(trim.hash, 'hex') }
}

interface Comparison {
  readonly start: Start
  readonly end: Start
  readonly restored: readonly Checkpoint[]
  readonly report: (damage: Damage) => void
}

async function compareCheckpoints(
  sql: SQL,
  options: VerifyOptions,
  { start, end, restored, report }: Comparison,
): Promise<Pick<Report, 'checkpoints' | 'unreadable'>> {
  const counts = { compared: 0, overruled: 0, unreadable: 0 }
  let batch: Placed[] = []
  const flush = async () => {
    await compareBatch(sql, batch, report)
    batch = []
  }
  for await (const placed of readCheckpoints(options)) {
    const { checkpoint, place } = placed
    if (checkpoint === undefined) {
      counts.unreadable++
      continue
    }
    const { position } = checkpoint
    if (!isGenuine(checkpoint, options.keys)) {
      report({ position, kind: 'checkpoint', detail: `not signed by a key of ours: ${place}` })
    } else if (restored.some((one) => overrules(one, checkpoint))) {
      counts.overruled++
    } else if (position > end.position) {
      const detail = `the chain had reached line ${position} by ${checkpoint.at}: ${place}`
      report({ position: end.position + 1, kind: 'truncated', detail })
      counts.compared++
    } else {
      counts.compared++
      if (position > start.position) batch.push(placed)
      if (batch.length >= CHECKPOINTS_AT_ONCE) await flush()
    }
  }
  await flush()
  const { compared, overruled, unreadable } = counts
  return { checkpoints: { compared, overruled }, unreadable }
}

function overrules(restored: Checkpoint, checkpoint: Checkpoint): boolean {
  return checkpoint.position > restored.position && checkpoint.at < restored.at
}

async function compareBatch(
  sql: SQL,
  batch: readonly Placed[],
  report: (damage: Damage) => void,
): Promise<void> {
  if (batch.length === 0) return
  const wanted = batch.map(({ checkpoint }, n) => {
    const { position, sealed_at, hash } = checkpoint as Checkpoint
    return { n, position, sealed_at, hash: `\\x${hash}` }
  })
  const rows = (await sql`
    select wanted.n from json_to_recordset(${JSON.stringify(wanted)}::text::json)
      as wanted(n int, position bigint, sealed_at timestamptz, hash bytea)
    where not exists (
      select from audit_log l where l.position = wanted.position
        and l.sealed_at = wanted.sealed_at and l.hash = wanted.hash)`) as { n: number }[]
  for (const { n } of rows) {
    const { checkpoint, place } = batch[n] as Placed
    const detail = `the line is not the one that a checkpoint names: ${place}`
    report({ position: (checkpoint as Checkpoint).position, kind: 'rewritten', detail })
  }
}
