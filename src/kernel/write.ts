import type { Tx } from '../../db/transaction.ts'
import type { Logger } from '../observe/log.ts'
import type { Caller, RequestInfo } from './access.ts'
import type { Outcome } from './call.ts'
import type { Context, WriteContext } from './context.ts'
import { type AuditLine, type Emission, type Enqueued, enqueued } from './effects.ts'
import { recallAnswer, rememberAnswer, takeTurn } from './idempotency.ts'
import type { Kernel } from './kernel.ts'
import type { HandlerForm, Operation } from './operation.ts'
import type { StepUp } from './step-up.ts'

/** What a write needs. */
export interface WriteParts {
  readonly kernel: Kernel
  readonly stepUp: StepUp
  /** Checks answers against their schemas. */
  readonly checksOutputs: boolean
}

/** What a write looks at of its call, beside the input. */
export interface WriteCall {
  /** As the edge knows them: whose the key is. */
  readonly caller: Caller | null
  readonly key: string | undefined
  /** What a fresh second factor has earned. */
  readonly stepUp: string | undefined
}

/**
 * Runs one call of an operation that writes, from top to bottom: its turn among calls with the
 * same key, what it prepares, and then in one transaction the answer of an earlier call with the
 * key, the fresh second factor, the handler, and the record of its answer.
 */
export async function write(
  { kernel, stepUp, checksOutputs }: WriteParts,
  operation: Operation,
  form: HandlerForm,
  context: Context<never>,
  { caller, key, stepUp: token }: WriteCall,
  input: never,
): Promise<Outcome> {
  const { name } = operation
  const turn =
    key === undefined ? undefined : await takeTurn(kernel, { operation: name, caller, key, input })
  try {
    const prepared = await form.prepare?.(context, input)
    return await unitOfWork(kernel, context, async (ctx): Promise<Outcome> => {
      const answer = turn === undefined ? undefined : await recallAnswer(ctx, turn)
      if (answer !== undefined) {
        const output = form.secretOutput?.replay(ctx, answer) ?? JSON.parse(answer)
        return { output: await output, replayed: true }
      }
      // Not for a repeated request: its answer exists, and its token is used up.
      if (form.stepUp !== undefined && (await form.stepUp(ctx, input))) {
        await stepUp.require(ctx, operation, input, token)
      }
      const output = await form.handler(ctx, input, prepared as never)
      // Before the commit: a wrong answer must not count, nor be remembered under a key.
      if (checksOutputs) checkOutput(operation, output)
      if (turn !== undefined) {
        const text = form.secretOutput?.remember(output as never) ?? JSON.stringify(output)
        await rememberAnswer(ctx, turn, text)
      }
      return { output }
    })
  } finally {
    turn?.release()
  }
}

/** @throws Error for an answer that is not what the operation says: a bug of ours */
export function checkOutput(operation: Operation, output: unknown): void {
  if (operation.validOutput.check(output)) return
  const errors = operation.validOutput.errors(output)
  throw new Error(`${operation.name} answered against its schema: ${JSON.stringify(errors)}`)
}

/**
 * What is told after a commit. What was done is done: a failure here must not look like one of the
 * call, which would be answered with it, or even run again.
 */
export function tellAll(log: Logger, tellers: readonly (() => void)[]): void {
  for (const tell of tellers) {
    try {
      tell()
    } catch (error) {
      log.error('not told after a commit', { error })
    }
  }
}

/**
 * Runs `work` in one transaction that also writes its effects (events, audit lines, jobs), and
 * after the commit tells whoever waits for them. Operations and jobs run in one; so does whatever
 * else changes something that others must hear of.
 *
 * `work` may run again after a serialisation failure: what the last try has collected is forgotten.
 */
export async function unitOfWork<A extends Caller | null, T>(
  kernel: Kernel,
  who: { readonly actor: A; readonly request: RequestInfo },
  work: (ctx: WriteContext<A>) => Promise<T>,
): Promise<T> {
  let effects = new Effects()
  const running = kernel.db.transaction(async (tx) => {
    effects = new Effects()
    const done = await work(effects.context(kernel, who, tx))
    await effects.insert(kernel, tx)
    return done
  })
  const result = await running.catch(async (error: unknown) => {
    await effects.recordRefusals(kernel)
    throw error
  })
  effects.tell(kernel)
  return result
}

/** What one try of a transaction has to do beside its rows. */
class Effects {
  readonly #emissions: Emission[] = []
  readonly #lines: AuditLine[] = []
  readonly #refusals: AuditLine[] = []
  readonly #jobs: Enqueued[] = []
  readonly #after: (() => void)[] = []

  /** What the handler gets: it collects here. */
  context<A extends Caller | null>(
    kernel: Kernel,
    { actor, request }: { readonly actor: A; readonly request: RequestInfo },
    tx: Tx,
  ): WriteContext<A> {
    return {
      kernel,
      clock: kernel.clock,
      actor,
      request,
      tx,
      emit: (emission) => void this.#emissions.push(emission),
      audit: (entry) => void this.#lines.push({ ...entry, caller: actor, request }),
      auditRefusal: (entry) => void this.#refusals.push({ ...entry, caller: actor, request }),
      enqueue: (queue, payload, options) => void this.#jobs.push(enqueued(queue, payload, options)),
      afterCommit: (fn) => void this.#after.push(fn),
    }
  }

  async insert({ queues, streams, audit }: Kernel, tx: Tx): Promise<void> {
    if (this.#jobs.length > 0) await queues.insert(tx.sql, this.#jobs)
    if (this.#emissions.length > 0) await streams.enqueue(tx.sql, this.#emissions)
    if (this.#lines.length > 0) tx.withCommit(audit.insert(tx.sql, this.#lines))
  }

  /** After the commit. */
  tell({ queues, streams, audit, log }: Kernel): void {
    if (this.#emissions.length > 0) streams.committed()
    if (this.#lines.length > 0) audit.committed()
    if (this.#jobs.length > 0) queues.committed()
    tellAll(log, this.#after)
  }

  /** After a failure. The refusal is answered, also when nobody can write it down. */
  async recordRefusals({ audit, log }: Kernel): Promise<void> {
    for (const line of this.#refusals) {
      try {
        await audit.record(line)
      } catch (error) {
        log.error('refusal not in the audit log', { action: line.action, error })
      }
    }
  }
}
