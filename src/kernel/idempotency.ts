import { createHash, createHmac } from 'node:crypto'
import { sqlState } from '../../db/transaction.ts'
import { canonical } from '../base/canonical.ts'
import { Failure } from '../base/errors.ts'
import { type Caller, callerId } from './access.ts'
import type { Outcome } from './call.ts'
import type { WriteContext } from './context.ts'
import type { Kernel } from './kernel.ts'
import { KeyedMutex } from './keyed-mutex.ts'
import type { Form, Operation } from './operation.ts'

type SecretOutput = Extract<Form, { kind: 'handler' }>['secretOutput']

/** How long a second caller waits for the first, in milliseconds. */
const WAIT_MS_MAX = 5_000

/** A call with an idempotency key, whose turn it is in this process. */
export interface Keyed {
  /** A hash of actor, operation and key. */
  readonly scope: Buffer
  /** How long it may still wait for another instance, in milliseconds. */
  readonly waitMs: number
}

/**
 * Runs a call when no other with the same key runs in this process, and before it takes a
 * connection to the database.
 * @throws Failure `request_in_progress` after 5 s
 */
export async function inTurn<T>(
  kernel: Kernel,
  operation: Operation,
  caller: Caller | null,
  key: string,
  work: (keyed: Keyed) => Promise<T>,
): Promise<T> {
  const who = caller === null ? 'anyone' : callerId(caller)
  const scope = createHash('sha256').update(`${who}\n${operation.name}\n${key}`).digest()
  const turn = await kernel.use(KeyedMutex).take(scope.toString('base64'), WAIT_MS_MAX)
  if (turn === undefined) throw inProgress()
  try {
    return await work({ scope, waitMs: turn.leftMs })
  } finally {
    turn.release()
  }
}

/**
 * Does `act` at most once for a key, within the caller's transaction: the record commits with the
 * effect or not at all. The same request again gets the first answer; a different one under the
 * same key is refused; one that comes while another instance runs the first waits for it.
 *
 * The advisory lock, not the unique index, is what makes the second wait: rows lie in daily
 * partitions, and at midnight the same key would find another one.
 */
export async function answerOnce(
  kernel: Kernel,
  secret: SecretOutput,
  ctx: WriteContext<never>,
  input: unknown,
  { scope, waitMs }: Keyed,
  act: () => Promise<unknown>,
): Promise<Outcome> {
  const { sql } = ctx.tx
  const text = canonical(input)
  await lockScope(sql, scope, waitMs)
  const [found] = await sql`
    select fingerprint, answer from idempotency
    where scope = ${scope} and day >= current_date - 1 order by day desc limit 1`
  if (found !== undefined) {
    const stored = found.fingerprint as Uint8Array
    if (!kernel.config.masterKeys.some((master) => fingerprint(master, text).equals(stored))) {
      throw new Failure('idempotency_key_reused', 'This key belongs to a different request')
    }
    const answer = found.answer as string
    const output = secret === undefined ? JSON.parse(answer) : await secret.replay(ctx, answer)
    return { output, replayed: true }
  }
  const output = await act()
  const answer = secret === undefined ? JSON.stringify(output) : secret.remember(output as never)
  await sql`
    insert into idempotency (scope, fingerprint, answer)
    values (${scope}, ${fingerprint(masterKey(kernel), text)}, ${answer})`
  return { output }
}

async function lockScope(
  sql: WriteContext['tx']['sql'],
  scope: Buffer,
  waitMs: number,
): Promise<void> {
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
