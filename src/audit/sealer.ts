import type { SQL } from 'bun'
import { sqlState } from '../../db/transaction.ts'
import { jitter, randomBytes } from '../base/ids.ts'
import { type Kernel, service } from '../kernel/kernel.ts'
import { Loop } from '../kernel/loop.ts'
import { digestOf, SALT_BYTES, sealOf } from './chain.ts'
import { type ChainPoint, exportCheckpoint, makeCheckpoint } from './checkpoints.ts'
import { type AuditKeys, deriveKeys, keepKey } from './keys.ts'
import { parseLine } from './record.ts'

/**
 * Chains what has been committed. Every instance runs one; the head's row decides whose batch
 * counts, inside a single statement, so that an instance that stalls or dies holds up nobody.
 *
 * What waits is a table of its own that sealing empties: a line is sealed when it can be seen,
 * however late its transaction commits. No cursor over a time or a sequence could promise that.
 */
export interface Sealer {
  /** Seals what waits; returns how many lines that were. */
  seal(): Promise<number>
  /** Writes a checkpoint, if the chain has moved since the last one. */
  checkpoint(): Promise<void>
  /** Seals continuously; returns how to stop, after sealing what waits then. */
  start(): Promise<() => Promise<void>>
}

/** The sealer of a server. */
export const Sealer = service<Sealer>('audit sealer', (kernel) => new ChainSealer(kernel))

/** Lines in one statement: some tens of milliseconds. */
const LINES_MAX = 1_000
/** After the first commit others are waited for so long: sealing ten costs as much as one. */
const GATHER_MS = 100
/** How often lines are looked for that nobody announced (their instance has died). */
const POLL_MS = 500
/** A checkpoint after so much time or so many lines, whichever comes first. */
const CHECKPOINT = { everyMs: 60_000, everyLines: 10_000 }
/** Beyond that something else is wrong. */
const UNSEALABLE_MAX = 100
/** Unsealed lines that are older are an alarm, repeated so often. */
const ALARM = { ageMs: 10_000, everyMs: 60_000 }

/** The end of the chain, and the database's time when it was read. */
interface Head extends ChainPoint {
  readonly nowMs: number
}

interface Waiting {
  readonly number: string
  readonly line: string
}

class ChainSealer implements Sealer {
  readonly #kernel: Kernel
  readonly #keys: AuditKeys
  readonly #measures: ReturnType<typeof measuresOf>
  /** The furthest that this instance has known the chain to be. */
  #known: ChainPoint | undefined
  #exported: { position: number; atMs: number }
  #alarmedMs = Number.NEGATIVE_INFINITY
  /** Lines taken at once: fewer while one among them cannot be sealed, to find which. */
  #linesMax = LINES_MAX
  readonly #unsealable: string[] = []
  #last: Promise<unknown> = Promise.resolve()
  #failing = false

  constructor(kernel: Kernel) {
    this.#kernel = kernel
    this.#keys = deriveKeys(kernel.config.masterKeys)
    this.#measures = measuresOf(kernel)
    this.#exported = { position: 0, atMs: kernel.clock.monotonicMs() }
  }

  /** One after the other: two at once would each take the other's progress for tampering. */
  seal(): Promise<number> {
    const sealAll = () => this.#sealAll()
    const next = this.#last.then(sealAll, sealAll)
    this.#last = next
    return next
  }

  async checkpoint(): Promise<void> {
    if (this.#known === undefined || this.#known.position === this.#exported.position) return
    const { position } = this.#known
    this.#exported = { position, atMs: this.#kernel.clock.monotonicMs() }
    await this.#publish(this.#known)
  }

  async start(): Promise<() => Promise<void>> {
    const { db, vault } = this.#kernel
    await keepKey(db.sql, vault, this.#keys)
    this.#known = await readHead(db.sql)
    // Whatever happens to the database from now on, this much of the chain is known.
    await this.checkpoint()
    return this.#run()
  }

  /** Soon after a commit, and now and then. */
  #run(): () => Promise<void> {
    const { audit, clock } = this.#kernel
    let committed = false
    this.#failing = false
    const loop = new Loop({
      clock,
      round: async (stopping) => {
        if (committed) await clock.sleep(GATHER_MS, stopping).catch(() => undefined)
        committed = false
        await this.#attempt()
        return POLL_MS
      },
      // Nothing gets here: after a try that failed, a commit may bring the next one forward.
      failed: () => undefined,
      retryMs: POLL_MS,
    })
    const stopListening = audit.onCommitted(() => {
      // Whoever commits while others are gathered is sealed with them.
      if (committed) return
      committed = true
      loop.kick()
    })
    loop.kickIn(POLL_MS)
    return async () => {
      stopListening()
      await loop.stop()
      await this.#attempt()
      await this.checkpoint()
    }
  }

  async #attempt(): Promise<void> {
    const { log } = this.#kernel
    try {
      await this.seal()
      if (this.#failing) log.info('the audit log is sealed again')
      this.#failing = false
    } catch (error) {
      if (!this.#failing) log.error('the audit log cannot be sealed, trying again', { error })
      this.#failing = true
      await this.#measure().catch(() => undefined)
    }
  }

  async #sealAll(): Promise<number> {
    let sealed = 0
    for (let more = true; more;) {
      const done = await this.#sealSome()
      sealed += done.sealed
      more = done.more
      await this.#checkpointIfDue()
    }
    const { unsealed, age } = this.#measures
    if (this.#unsealable.length > 0) await this.#measure()
    else for (const gauge of [unsealed, age]) gauge.labels().set(0)
    return sealed
  }

  async #sealSome(): Promise<{ sealed: number; more: boolean }> {
    const { sql } = this.#kernel.db
    if (!(await somethingWaits(sql))) return { sealed: 0, more: false }
    // The head first: what waits was then not sealed onto a later one, or the head has moved.
    const head = await readHead(sql)
    await this.#compare(head)
    const lines = await readWaiting(sql, this.#linesMax, this.#unsealable)
    if (lines.length === 0) return { sealed: 0, more: false }
    try {
      return await this.#sealOnto(head, lines)
    } catch (error) {
      if (!isBadLine(error) || this.#unsealable.length >= UNSEALABLE_MAX) throw error
      if (lines.length === 1) this.#setAside(lines[0] as Waiting, error)
      this.#linesMax = Math.ceil(lines.length / 2)
      return { sealed: 0, more: true }
    }
  }

  async #sealOnto(head: Head, lines: readonly Waiting[]) {
    const { clock, db } = this.#kernel
    // By the slower of two clocks: one that runs ahead would take the chain into the future, where
    // it would have to stay.
    const sealedAtMs = Math.max(Math.min(clock.now(), head.nowMs), head.sealedAtMs)
    const batch = chain(this.#keys, head, sealedAtMs, lines)
    const [answer] = (await db.sql`
      select rialto_seal_audit(${head.position}::text::bigint, ${head.hash},
        ${new Date(sealedAtMs)}, ${this.#keys.current.id},
        ${JSON.stringify(batch.seals)}::text::json) as done`) as { done: boolean }[]
    if (answer?.done !== true) {
      // Another instance is at it: leave it to that one, and look again a little later.
      await clock.sleep(jitter(GATHER_MS, 0.5))
      return { sealed: 0, more: true }
    }
    this.#known = { position: head.position + lines.length, hash: batch.hash, sealedAtMs }
    this.#measures.sealed.labels().inc(lines.length)
    const more = lines.length === this.#linesMax
    this.#linesMax = Math.min(2 * this.#linesMax, LINES_MAX)
    return { sealed: lines.length, more }
  }

  /** Nobody but who writes to the table by hand makes such a line. It must not hold up the rest. */
  #setAside({ number }: Waiting, error: unknown): void {
    this.#kernel.log.error('a line of the audit log cannot be sealed', { number, error })
    this.#unsealable.push(number)
  }

  /** The chain only ever grows: a head that is behind what was seen has been tampered with. */
  async #compare(head: Head): Promise<void> {
    const before = this.#known
    this.#known = head
    if (before === undefined || head.position > before.position) return
    if (head.position === before.position && head.hash.equals(before.hash)) return
    this.#measures.faults.labels().inc()
    this.#kernel.log.error(
      'the end of the audit log is not what it was: lines were removed or changed',
      { position: head.position, known_position: before.position },
    )
    // What is known of it is worth keeping, and lies where the database's owner does not reach.
    await this.#publish(before)
  }

  async #checkpointIfDue(): Promise<void> {
    const lines = (this.#known?.position ?? 0) - this.#exported.position
    const waitedMs = this.#kernel.clock.monotonicMs() - this.#exported.atMs
    if (lines >= CHECKPOINT.everyLines || waitedMs >= CHECKPOINT.everyMs) await this.checkpoint()
  }

  /** To the log as well: that may be shipped elsewhere sooner than a file. */
  async #publish(point: ChainPoint): Promise<void> {
    const { clock, config, log } = this.#kernel
    const checkpoint = makeCheckpoint(this.#keys.current, clock, 'checkpoint', point)
    log.info('audit checkpoint', { ...checkpoint })
    const { checkpoints } = this.#measures
    try {
      await exportCheckpoint(config.audit.checkpointDirs, checkpoint)
      checkpoints.labels({ outcome: 'ok' }).inc()
    } catch (error) {
      // Sealing goes on: a full disk must not keep the chain from growing.
      checkpoints.labels({ outcome: 'failed' }).inc()
      log.error('audit checkpoint not written to its folder', { error })
    }
  }

  async #measure(): Promise<void> {
    const { clock, db, log } = this.#kernel
    const { count, oldestMs = clock.now() } = await unsealed(db.sql)
    const ageMs = Math.max(clock.now() - oldestMs, 0)
    this.#measures.unsealed.labels().set(count)
    this.#measures.age.labels().set(ageMs / 1000)
    if (ageMs < ALARM.ageMs || clock.monotonicMs() - this.#alarmedMs < ALARM.everyMs) return
    this.#alarmedMs = clock.monotonicMs()
    log.error('lines of the audit log wait to be sealed', { count, age_ms: ageMs })
  }
}

/** Hashes lines onto the head, one onto the other. */
function chain(
  { current }: AuditKeys,
  head: ChainPoint,
  sealedAtMs: number,
  waiting: readonly Waiting[],
): { seals: object[]; hash: Buffer } {
  let { hash } = head
  const salts = randomBytes(2 * SALT_BYTES * waiting.length)
  const seals = waiting.map(({ number, line }, n) => {
    const { origin, personal, before, after, ...said } = parseLine(line)
    const saltOf = (part: number) =>
      salts.subarray((2 * n + part) * SALT_BYTES, (2 * n + part + 1) * SALT_BYTES)
    const originDigest = origin === null ? null : digestOf(saltOf(0), JSON.stringify(origin))
    const personalDigest = personal === null ? null : digestOf(saltOf(1), JSON.stringify(personal))
    hash = sealOf(current, hash, {
      ...said,
      position: `${head.position + n + 1}`,
      sealed_at: `${sealedAtMs}`,
      key_id: current.id,
      at: `${Date.parse(said.at)}`,
      before: before === null ? null : JSON.stringify(before),
      after: after === null ? null : JSON.stringify(after),
      origin_digest: originDigest?.toString('hex') ?? null,
      personal_digest: personalDigest?.toString('hex') ?? null,
    })
    return {
      n: n + 1,
      number,
      hash: byteaText(hash),
      origin_salt: byteaText(saltOf(0)),
      origin_digest: byteaText(originDigest),
      personal_salt: byteaText(saltOf(1)),
      personal_digest: byteaText(personalDigest),
    }
  })
  return { seals, hash }
}

const byteaText = (bytes: Uint8Array | null) =>
  bytes === null ? null : `\\x${Buffer.from(bytes).toString('hex')}`

/** Where the chain ends. */
export async function readHead(sql: SQL): Promise<Head> {
  const [row] = (await sql`
    select position::float8 as position, hash,
      (extract(epoch from sealed_at) * 1000)::float8 as sealed_at_ms,
      (extract(epoch from clock_timestamp()) * 1000)::float8 as now_ms
    from audit_head`) as Record<'position' | 'sealed_at_ms' | 'now_ms', number>[] &
    { hash: Uint8Array }[]
  if (row === undefined) throw new Error('the audit log has no head')
  const { position, sealed_at_ms: sealedAtMs, now_ms: nowMs } = row
  return { position, hash: Buffer.from(row.hash), sealedAtMs, nowMs: Math.floor(nowMs) }
}

async function somethingWaits(sql: SQL): Promise<boolean> {
  const [row] = (await sql`select exists (select from audit_pending) as waits`) as {
    waits: boolean
  }[]
  return row?.waits === true
}

async function readWaiting(
  sql: SQL,
  limit: number,
  without: readonly string[],
): Promise<Waiting[]> {
  return await sql`
    select number::text as number, line from audit_pending
    where number <> all(${`{${without.join(',')}}`}::text::bigint[])
    order by number limit ${limit}`
}

/** Text that is no line: the database says so with a data exception, `parseLine` in its own way. */
function isBadLine(error: unknown): boolean {
  return error instanceof SyntaxError || sqlState(error)?.startsWith('22') === true
}

/** How much waits; counting ends where it is a great deal in any case. */
async function unsealed(sql: SQL): Promise<{ count: number; oldestMs: number | undefined }> {
  const [row] = (await sql`
    select count(*)::int as count,
      (select line from audit_pending order by number limit 1) as oldest
    from (select from audit_pending limit 100000) waiting`) as {
    count: number
    oldest: string | null
  }[]
  // Read as text: it may be the one that nobody can read.
  const at = /"at":"([^"]*)"/.exec(row?.oldest ?? '')?.[1]
  const oldestMs = Date.parse(at ?? '')
  return { count: row?.count ?? 0, oldestMs: Number.isNaN(oldestMs) ? undefined : oldestMs }
}

function measuresOf({ metrics }: Kernel) {
  return {
    sealed: metrics.counter('audit_sealed_lines_total', 'Lines of the audit log sealed here'),
    unsealed: metrics.gauge(
      'audit_unsealed_lines',
      'Lines of the audit log that wait to be sealed',
    ),
    age: metrics.gauge('audit_unsealed_age_seconds', 'Age of the oldest line that waits'),
    checkpoints: metrics.counter(
      'audit_checkpoints_total',
      'Checkpoints of the audit log, by whether they could be written',
      ['outcome'],
    ),
    faults: metrics.counter(
      'audit_faults_total',
      'Times the end of the audit log was found to be behind what was known of it',
    ),
  }
}
