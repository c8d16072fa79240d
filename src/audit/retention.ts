import { STRANGERS_KEPT_MS } from './shapes.ts'
import type { Job } from '../kernel/job.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { exportCheckpoint, makeCheckpoint } from './checkpoints.ts'
import { deriveKeys, withKeptKeys } from './keys.ts'
import { findStart, specialCheckpoints } from './verify.ts'
import { type Damage, walk } from './walk.ts'

/** How long lines are kept is said by `rialto_expired_audit`, in the migrations: seven years. */

interface Expired {
  readonly ends: Date
  readonly position: number | null
  readonly hash: Uint8Array | null
  readonly sealed_at_ms: number | null
}

/** Makes the log's coming months, and drops those that are older than it is kept. */
export const rotateAudit: Job = {
  name: 'audit.rotate',
  description: 'Months of the audit log: makes coming ones, drops those that are seven years old',
  async run(kernel, signal) {
    const { sql } = kernel.db
    const [row] = await sql`select rialto_rotate_audit() as made`
    let dropped = 0
    for (;;) {
      signal?.throwIfAborted()
      const expired = await oldest(kernel)
      if (expired === undefined) break
      await writeTrim(kernel, expired)
      await sql`select rialto_drop_audit()`
      kernel.log.info('a month of the audit log was dropped', { ends: expired.ends.toISOString() })
      dropped++
    }
    return { partitions_made: row.made as number, months_dropped: dropped }
  },
  async dryRun(kernel) {
    return { months_dropped: (await oldest(kernel)) === undefined ? 0 : 1 }
  },
}

async function oldest({ db }: Kernel): Promise<Expired | undefined> {
  const [row] = (await db.sql`
    select ends, last_position::float8 as position, last_hash as hash,
      (extract(epoch from last_sealed_at) * 1000)::float8 as sealed_at_ms
    from rialto_expired_audit()`) as Expired[]
  return row
}

/**
 * Writes down where the chain will begin. Only for a month in which every line is as it was sealed:
 * what was tampered with must not be dropped as if nothing had been.
 */
async function writeTrim(kernel: Kernel, expired: Expired): Promise<void> {
  const { clock, config, db, vault } = kernel
  const { position, hash, sealed_at_ms: sealedAtMs, ends } = expired
  if (position === null || hash === null || sealedAtMs === null) return
  const keys = await withKeptKeys(db.sql, vault, deriveKeys(config.masterKeys))
  const folders = config.audit.checkpointDirs
  const { trims } = await specialCheckpoints(db.sql, { keys, folders })
  const start = await findStart(db.sql, trims, keys)
  let damage: Damage | undefined
  const report = (found: Damage) => {
    damage ??= found
  }
  await walk(db.sql, { keys, start, nowMs: clock.now(), report, before: ends })
  if (damage !== undefined) {
    const { kind, position: at, detail } = damage
    throw new Error(`the audit log is not trimmed: at line ${at} ${kind}: ${detail}`)
  }
  const point = { position, hash: Buffer.from(hash), sealedAtMs }
  const trim = makeCheckpoint(keys.current, clock, 'trim', point)
  await exportCheckpoint(folders, trim)
  await db.sql`
    insert into audit_trims (position, hash, checkpoint)
    values (${position}, ${point.hash}, ${JSON.stringify(trim)}) on conflict do nothing`
}

/** Rows erased in one statement, so that no lock is held for long. */
const ROWS_AT_ONCE = 5_000

/** Erases addresses of people whom nobody knows. */
export const forgetStrangers: Job = {
  name: 'audit.forget_strangers',
  description: 'Erases from the audit log, after a year, addresses of people whom nobody knows',
  async run({ clock, db }, signal) {
    const before = new Date(clock.now() - STRANGERS_KEPT_MS)
    let erased = 0
    for (;;) {
      signal?.throwIfAborted()
      const step = await db.sql`
        delete from audit_personal where (position, part, sealed_at) in (
          select position, part, sealed_at from audit_personal
          where subject_id is null and sealed_at < ${before} limit ${ROWS_AT_ONCE})`
      erased += step.count as number
      if (step.count < ROWS_AT_ONCE) return { parts_erased: erased }
    }
  },
  async dryRun({ clock, db }) {
    const before = new Date(clock.now() - STRANGERS_KEPT_MS)
    const [row] = await db.sql`
      select count(*)::int as parts from audit_personal
      where subject_id is null and sealed_at < ${before}`
    return { parts_erased: row.parts as number }
  },
}
