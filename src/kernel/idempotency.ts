import { createHash, createHmac } from 'node:crypto'
import { sqlState } from '../../db/transaction.ts'
import { canonical } from '../base/canonical.ts'
import { Failure } from '../base/errors.ts'
import { type Caller, callerId } from './access.ts'
import type { WriteContext } from './context.ts'
import { type Kernel, service } from './kernel.ts'
import { KeyedMutex } from './keyed-mutex.ts'

type AnyContext = WriteContext<Caller | null>

/** Calls with the same key go one after the other. */
const Turns = service('keyed calls', ({ clock }) => new KeyedMutex(clock))

/** How long a second caller waits for the first, in milliseconds. */
const WAIT_MS_MAX = 5_000

/** What a key is given for. */
export interface KeyedRequest {
  /** Name of the operation. */
  readonly operation: string
  readonly caller: Caller | null
  readonly key: string
  readonly input: unknown
}

/** A call with an idempotency key, whose turn it is in this process. */
export interface KeyedTurn {
  /** A hash of caller, operation and key. */
  readonly scope: Buffer
  /** The input in its one spelling: what a second request with the key must be the same as. */
  readonly text: string
  /** How long it may still wait for another instance, in milliseconds. */
  readonly waitMs: number
  /** Lets the next call with this key go on. */
  release(): void
}

/**
 * Waits until no other call with the same key runs in this process, before a connection to the
 * database is taken.
 * @throws Failure `request_in_progress` after 5 s
 */
export async function takeTurn(kernel: Kernel, request: KeyedRequest): Promise<KeyedTurn> {
  const { operation, caller, key, input } = request
  const who = caller === null ? 'anyone' : callerId(caller)
  const scope = createHash('sha256').update(`${who}\n${operation}\n${key}`).digest()
  const lock = await kernel.use(Turns).acquire(scope.toString('base64'), WAIT_MS_MAX)
  if (lock === undefined) throw inProgress()
  return { scope, text: canonical(input), waitMs: lock.leftMs, release: () => lock.release() }
}

/**
 * The answer that an earlier request with the key has got. One that another instance still runs is
 * waited for.
 *
 * The advisory lock, not the unique index, is what makes the second wait: rows lie in daily
 * partitions, and at midnight the same key would find another one.
 *
 * @throws Failure `request_in_progress` | `idempotency_key_reused`
 */
export async function recallAnswer(
  { kernel, tx }: AnyContext,
  { scope, text, waitMs }: KeyedTurn,
): Promise<string | undefined> {
  await lockScope(tx.sql, scope, waitMs)
  const [found] = await tx.sql`
    select fingerprint, answer from idempotency
    where scope = ${scope} and day >= current_date - 1 order by day desc limit 1`
  if (found === undefined) return undefined
  const stored = found.fingerprint as Uint8Array
  if (!kernel.config.masterKeys.some((master) => fingerprint(master, text).equals(stored))) {
    throw new Failure('idempotency_key_reused', 'This key belongs to a different request')
  }
  return found.answer as string
}

/** Keeps the answer with the effect: both commit, or neither does. */
export async function rememberAnswer(
  { kernel, tx }: AnyContext,
  { scope, text }: KeyedTurn,
  answer: string,
): Promise<void> {
  await tx.sql`
    insert into idempotency (scope, fingerprint, answer)
    values (${scope}, ${fingerprint(masterKey(kernel), text)}, ${answer})`
}

async function lockScope(sql: AnyContext['tx']['sql'], scope: Buffer, waitMs: number) {
  try {
    await sql.unsafe(`set local lock_timeout = ${waitMs}`)
    await sql`select pg_advisory_xact_lock(${scope.readBigInt64BE(0).toString()}::bigint)`
    await sql.unsafe('set local lock_timeout = 0')
  } catch (error) {
    if (sqlState(error) !== '55P03') throw error
    throw inProgress(error)
  }
}

function inProgress(cause?: unknown): Failure {
  return new Failure('request_in_progress', 'The first request with this key is still running', {
    retryAfterMs: 1_000,
    cause,
  })
}

function masterKey(kernel: Kernel): Uint8Array {
  const key = kernel.config.masterKeys[0]
  if (key === undefined) throw new Error('no master key')
  return key
}

/**
 * A keyed hash: inputs may hold guessable secrets (a password), which a plain hash in the
 * database would give away.
 */
function fingerprint(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
