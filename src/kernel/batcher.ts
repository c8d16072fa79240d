import { pipelined } from '../../db/pipelined.ts'
import { asFailure, retryDelayMs } from '../../db/transaction.ts'
import { Failure } from '../base/errors.ts'
import type { Outcome } from './call.ts'
import type { BatchContext, BatchItem } from './context.ts'
import type { AuditEntry, AuditLine, Emission } from './effects.ts'
import { Gather } from './gather.ts'
import type { Kernel, Position } from './kernel.ts'
import type { BatchForm, HandlerForm, Operation } from './operation.ts'
import { checkOutput, tellAll, type WriteParts } from './write.ts'

type Item = BatchItem<never>

/** Most calls in one transaction; larger ones only delay their first answer. */
const BATCH_MAX = 1_000

/** Gathers the calls of one batch operation into transactions. */
export function createBatcher(
  { kernel, checksOutputs }: Pick<WriteParts, 'kernel' | 'checksOutputs'>,
  operation: Operation,
  { batch }: BatchForm,
): Gather<Item, Outcome> {
  const { name } = operation
  // Before the commit, and one wrong answer fails alone: the batch is split.
  const checked: BatchForm['batch'] = async (ctx, items) => {
    const results = await batch(ctx, items)
    for (const one of results) if (!(one instanceof Failure)) checkOutput(operation, one)
    return results
  }
  const sizes = kernel.metrics
    .histogram(
      'batch_size',
      'Calls in one transaction of a batch operation',
      ['operation'],
      [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000],
    )
    .labels({ operation: name })
  return new Gather({
    run: (items) => runBatch(kernel, checksOutputs ? checked : batch, items),
    fit: ({ length }) => Math.min(length, BATCH_MAX),
    aloneAtOnce: 1,
    split: (size, error) =>
      kernel.log.warn('batch failed, running its calls one by one', {
        operation: name,
        size,
        error,
      }),
    sizes,
  })
}

/**
 * The same as a write of its own, for a call whose idempotency record commits with it, or which
 * needs a fresh second factor.
 */
export function singly({ batch, stepUp }: BatchForm): HandlerForm {
  return {
    ...(stepUp === undefined ? {} : { stepUp }),
    async handler(ctx, input) {
      const { kernel, clock, tx, actor, request, afterCommit } = ctx
      const one: BatchContext = {
        kernel,
        clock,
        sql: tx.sql,
        claim: () => undefined,
        emit: (_index, emission) => ctx.emit(emission),
        audit: (_index, entry) => ctx.audit(entry),
        afterCommit,
      }
      const [result] = await batch(one, [{ actor, input, request }])
      if (result instanceof Failure) throw result
      return result
    },
  }
}

async function runBatch(
  kernel: Kernel,
  batch: BatchForm['batch'],
  items: readonly Item[],
): Promise<(Outcome | Failure)[]> {
  const startMs = kernel.clock.monotonicMs()
  for (let attempt = 1; ; attempt++) {
    const state = { committing: false }
    try {
      return await attemptBatch(kernel, batch, items, state)
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
  batch: BatchForm['batch'],
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
    const results = await batch(ctx, items)
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
    tellAll(kernel.log, [() => streams.publish(emissions, skip), ...after])
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
  for (const [n, { channel, owner }] of emissions.entries()) {
    const cause = causes[n] as number
    const { actor, request } = items[cause] as Item
    const offset = offsets[n]
    if (offset === undefined || request.connectionId === undefined) continue
    if (owner !== actor.userId) continue
    positions[cause] = { channel, offset }
    skip[n] = request.connectionId
  }
  const outcomes = results.map((output, n) =>
    output instanceof Failure ? output : { output, position: positions[n] },
  )
  return { outcomes, skip }
}
