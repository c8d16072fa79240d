import { pipelined } from '../../db/pipelined.ts'
import { asFailure, retryDelayMs } from '../../db/transaction.ts'
import { Failure } from '../base/errors.ts'
import type { Outcome } from './call.ts'
import type { BatchContext, BatchItem, WriteContext } from './context.ts'
import type { AuditEntry, AuditLine, Emission } from './effects.ts'
import { answerOnce, inTurn, type Keyed } from './idempotency.ts'
import type { Kernel, Position } from './kernel.ts'
import type { Form, Operation } from './operation.ts'

type BatchHandler = Extract<Form, { kind: 'batch' }>['batch']
type Item = BatchItem<never>

/** Gathers the calls of one batch operation into transactions. */
export interface Batcher {
  submit(item: Item, key: string | undefined): Promise<Outcome>
}

/** Most calls in one transaction; larger ones only delay their first answer. */
const BATCH_MAX = 1_000
/** Most calls waiting in a lane; above that the server says so instead of growing. */
const WAITING_MAX = 20_000

interface Waiting {
  readonly item: Item
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}

interface Lane {
  waiting: Waiting[]
  busy: boolean
}

/** Makes the batcher of one operation. */
export function createBatcher(
  kernel: Kernel,
  operation: Operation,
  handler: BatchHandler,
): Batcher {
  // One transaction at a time. Two, chosen by sender, were measured: both want the same stream
  // heads, wait for each other there, and get half the batch each, which costs a third more.
  const lane: Lane = { waiting: [], busy: false }
  const sizes = kernel.metrics
    .histogram(
      'batch_size',
      'Calls in one transaction of a batch operation',
      ['operation'],
      [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000],
    )
    .labels({ operation: operation.name })

  const flush = async () => {
    while (lane.waiting.length > 0) {
      // Publishing the last batch may have taken a while: what has come in meanwhile is read from
      // the sockets first, so that it joins this batch and not the one after.
      await nextTurn()
      const batch = lane.waiting.splice(0, BATCH_MAX)
      sizes.observe(batch.length)
      await settle(kernel, operation, handler, batch)
    }
    lane.busy = false
  }

  return {
    submit(item, key) {
      if (key !== undefined) {
        return inTurn(kernel, operation, item.actor, key, (keyed) =>
          single(kernel, handler, item, keyed),
        )
      }
      if (lane.waiting.length >= WAITING_MAX) {
        const retryAfterMs = 1_000
        return Promise.reject(new Failure('overloaded', 'Too much is waiting', { retryAfterMs }))
      }
      return new Promise((resolve, reject) => {
        lane.waiting.push({ item, resolve, reject })
        if (lane.busy) return
        lane.busy = true
        void flush()
      })
    },
  }
}

/** Not a microtask: those run between two messages of one turn, and would batch nothing. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** Runs a batch; what fails as a whole is tried again one by one, so that one fails alone. */
async function settle(
  kernel: Kernel,
  operation: Operation,
  handler: BatchHandler,
  batch: readonly Waiting[],
): Promise<void> {
  try {
    const outcomes = await runBatch(
      kernel,
      operation,
      handler,
      batch.map(({ item }) => item),
    )
    for (const [index, { resolve, reject }] of batch.entries()) {
      const outcome = outcomes[index] as Outcome | Failure
      if (outcome instanceof Failure) reject(outcome)
      else resolve(outcome)
    }
  } catch (error) {
    // A database that is away is away for each of them.
    if (batch.length === 1 || error instanceof Failure) {
      for (const { reject } of batch) reject(error)
      return
    }
    kernel.log.warn('batch failed, running its calls one by one', {
      operation: operation.name,
      size: batch.length,
      error,
    })
    for (const one of batch) await settle(kernel, operation, handler, [one])
  }
}

async function runBatch(
  kernel: Kernel,
  operation: Operation,
  handler: BatchHandler,
  items: readonly Item[],
): Promise<(Outcome | Failure)[]> {
  const startMs = kernel.clock.monotonicMs()
  for (let attempt = 1; ; attempt++) {
    const state = { committing: false }
    try {
      return await attemptBatch(kernel, operation, handler, items, state)
    } catch (error) {
      const elapsedMs = kernel.clock.monotonicMs() - startMs
      const wait = retryDelayMs(error, attempt, state.committing, elapsedMs)
      if (wait === undefined) throw asFailure(error)
      await kernel.clock.sleep(wait)
    }
  }
}

async function attemptBatch(
  kernel: Kernel,
  operation: Operation,
  handler: BatchHandler,
  items: readonly Item[],
  state: { committing: boolean },
): Promise<(Outcome | Failure)[]> {
  const connection = await kernel.db.reserve()
  const streams = kernel.streams.batch(connection)
  const emissions: Emission[] = []
  const causes: number[] = []
  const trail: Trail = []
  const after: (() => void)[] = []
  const ctx: BatchContext = {
    kernel,
    clock: kernel.clock,
    sql: connection,
    claim: (channels) => streams.claim(channels),
    emit(index, emission) {
      emissions.push(emission)
      causes.push(index)
    },
    audit: (index, entry) => void trail.push({ index, line: lineOf(items, index, entry) }),
    afterCommit: (fn) => void after.push(fn),
  }
  try {
    const begun = pipelined(connection`begin`)
    const results = await handler(ctx, items as never)
    await begun
    const lines = linesOf(trail, results)
    // Sent before the commit and awaited after it: if it fails, the commit is a rollback.
    const written = lines.length === 0 ? undefined : kernel.audit.insert(connection, lines)
    written?.catch(() => undefined)
    state.committing = true
    const offsets = await streams.commit(emissions).catch(async (error: unknown) => {
      await written
      throw error
    })
    if (written !== undefined) kernel.audit.committed()
    const { outcomes, skip } = outcomesOf(items, results, emissions, causes, offsets)
    streams.publish(emissions, skip)
    for (const fn of after) fn()
    return outcomes
  } catch (error) {
    // Gone with its connection, or nothing to roll back: either way there is no transaction left.
    await connection`rollback`.catch(() => undefined)
    throw error
  } finally {
    streams.release()
    void connection.release()
  }
}

type Trail = { readonly index: number; readonly line: AuditLine }[]

function lineOf(items: readonly Item[], index: number, entry: AuditEntry): AuditLine {
  const { actor, request } = items[index] as Item
  return { ...entry, caller: actor, request }
}

/** The lines of what has not failed. */
function linesOf(trail: Trail, results: readonly unknown[]): AuditLine[] {
  return trail.filter(({ index }) => !(results[index] instanceof Failure)).map(({ line }) => line)
}

/**
 * Pairs results with what the caller's own stream has moved to: the socket that asked gets the
 * offset in its ack, and its own event not again.
 */
function outcomesOf(
  items: readonly Item[],
  results: readonly unknown[],
  emissions: readonly Emission[],
  causes: readonly number[],
  offsets: readonly (number | undefined)[],
) {
  const positions = new Array<Position | undefined>(items.length)
  const skip = new Array<string | undefined>(emissions.length)
  for (const [n, emission] of emissions.entries()) {
    const cause = causes[n] as number
    const { actor, request } = items[cause] as Item
    const offset = offsets[n]
    if (offset === undefined || request.connectionId === undefined) continue
    if (!emission.event.channel.personal) continue
    if (emission.channel.endsWith(actor.userId) === false) continue
    positions[cause] = { channel: emission.channel, offset }
    skip[n] = request.connectionId
  }
  const outcomes = results.map((output, n) =>
    output instanceof Failure ? output : { output, position: positions[n] },
  )
  return { outcomes, skip }
}

/** A call with an idempotency key has its own transaction, in which its record commits too. */
async function single(
  kernel: Kernel,
  handler: BatchHandler,
  item: Item,
  keyed: Keyed,
): Promise<Outcome> {
  let emissions: Emission[] = []
  let lines: AuditLine[] = []
  let after: (() => void)[] = []
  const outcome = await kernel.db.transaction(async (tx) => {
    emissions = []
    lines = []
    after = []
    const ctx = { kernel, clock: kernel.clock, tx, ...item } as unknown as WriteContext<never>
    return await answerOnce(kernel, undefined, ctx, item.input, keyed, async () => {
      const batch: BatchContext = {
        kernel,
        clock: kernel.clock,
        sql: tx.sql,
        claim: () => undefined,
        emit: (_index, emission) => void emissions.push(emission),
        audit: (index, entry) => void lines.push(lineOf([item], index, entry)),
        afterCommit: (fn) => void after.push(fn),
      }
      const [result] = await handler(batch, [item as never])
      if (result instanceof Failure) throw result
      if (lines.length > 0) await kernel.audit.insert(tx.sql, lines)
      if (emissions.length > 0) await kernel.streams.enqueue(tx.sql, emissions)
      return result
    })
  })
  if (lines.length > 0) kernel.audit.committed()
  if (emissions.length > 0) kernel.streams.committed()
  for (const fn of after) fn()
  return outcome
}
