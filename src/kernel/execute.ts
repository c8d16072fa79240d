import { type ErrorCode, Failure } from '../base/errors.ts'
import { addressGroup } from '../net/address.ts'
import type { HistogramHandle } from '../observe/metrics.ts'
import { type Caller, callerId, isAdmin, type RequestInfo } from './access.ts'
import { type Batcher, createBatcher } from './batcher.ts'
import type { Call, Outcome } from './call.ts'
import type { BatchItem, Context, WriteContext } from './context.ts'
import { answerOnce, inTurn, type Keyed } from './idempotency.ts'
import { acceptInput } from './input.ts'
import type { Kernel } from './kernel.ts'
import type { Operation } from './operation.ts'
import { unitOfWork } from './write.ts'

/** Runs operations: access, limit, input, idempotency, transaction, events. */
export interface Executor {
  /**
   * Answers synchronously where the operation can (so that an ephemeral frame costs no promise),
   * and throws `Failure` in the same way. Unexpected errors are logged and become `internal`.
   */
  execute(operation: Operation, call: Call): Outcome | Promise<Outcome>
  /** Resolves when nothing is running any more. */
  idle(): Promise<void>
}

const KEY = /^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$/

/** Makes the executor of a server. */
export function createExecutor(kernel: Kernel): Executor {
  const batchers = new Map<Operation, Batcher>()
  const observe = observer(kernel)
  const whenIdle: (() => void)[] = []
  let running = 0

  const start = (operation: Operation, call: Call): Outcome | Promise<Outcome> => {
    const actor = authorize(operation, call.actor)
    limit(kernel, operation, call)
    const input = acceptInput(operation, call.input)
    const key = checkedKey(operation, call.key)
    const context: Context<never> = {
      kernel,
      clock: kernel.clock,
      actor: actor as never,
      request: call.request,
    }
    const { form } = operation
    switch (form.kind) {
      case 'immediate': {
        const output = form.immediate(context, input as never)
        if (output instanceof Promise) return output.then((value) => checked(operation, value))
        return checked(operation, output)
      }
      case 'run':
        return form.run(context, input as never).then((output) => checked(operation, output))
      case 'batch': {
        let batcher = batchers.get(operation)
        if (batcher === undefined) {
          batcher = createBatcher(kernel, operation, form.batch)
          batchers.set(operation, batcher)
        }
        // Access has been checked: a batch operation always has an actor.
        const item = { actor, input, request: call.request } as BatchItem<never>
        return batcher.submit(item, key)
      }
      case 'handler': {
        const { stepUp } = call
        if (key === undefined) return write(kernel, operation, context, { input, stepUp })
        return inTurn(kernel, operation, call.actor, key, (keyed) =>
          write(kernel, operation, context, { input, stepUp }, keyed),
        )
      }
    }
  }

  const fail = (operation: Operation, call: Call, startMs: number, error: unknown): Failure => {
    const failure = asFailure(kernel, operation, call, error)
    observe(operation, failure.code, startMs)
    if (REFUSALS.has(failure.code)) noteRefusal(operation, call, failure)
    return failure
  }
  // Not waited for by the answer, but by whoever waits until nothing is running any more.
  const noteRefusal = (operation: Operation, call: Call, failure: Failure) => {
    const { actor, request } = call
    if (kernel.limiter.take('refusal', subjectOf(actor, request)) !== 0) return
    running++
    void recordRefusal(kernel, operation, call, failure).finally(ended)
  }
  const ended = () => {
    running--
    if (running === 0) for (const resolve of whenIdle.splice(0)) resolve()
  }
  const finish = async (
    operation: Operation,
    call: Call,
    startMs: number,
    outcome: Promise<Outcome>,
  ): Promise<Outcome> => {
    running++
    try {
      const value = await outcome
      observe(operation, 'ok', startMs)
      return value
    } catch (error) {
      throw fail(operation, call, startMs, error)
    } finally {
      ended()
    }
  }

  return {
    execute(operation, call) {
      const startMs = kernel.clock.monotonicMs()
      let outcome: Outcome | Promise<Outcome>
      try {
        outcome = start(operation, call)
      } catch (error) {
        throw fail(operation, call, startMs, error)
      }
      if (outcome instanceof Promise) return finish(operation, call, startMs, outcome)
      observe(operation, 'ok', startMs)
      return outcome
    },
    idle() {
      if (running === 0) return Promise.resolve()
      return new Promise((resolve) => whenIdle.push(resolve))
    },
  }
}

/** @returns whom the handler deals with */
function authorize(operation: Operation, caller: Caller | null): Caller | null {
  const { access } = operation
  if (access.kind === 'anyone') return caller?.kind === 'user' ? caller : null
  if (caller === null) throw new Failure('unauthenticated', 'Sign in first')
  if (caller.kind === 'service') {
    const { scope } = access
    if (scope === undefined) throw new Failure('forbidden', 'Not for API keys: sign in as a user')
    if (!caller.scopes.includes(scope)) {
      throw new Failure('forbidden', `The API key lacks the scope ${scope}`)
    }
    return caller
  }
  if (access.kind === 'service') throw new Failure('forbidden', 'Only for services with an API key')
  const { roles } = access
  if (roles === undefined) return caller
  const held = roles.filter((role) => caller.roles.includes(role))
  if (held.length === 0) throw new Failure('forbidden', `Only for: ${roles.join(', ')}`)
  if (held.every((role) => role === 'admin') && !isAdmin(caller)) {
    throw new Failure('mfa_required', 'Administrators sign in with a second factor')
  }
  return caller
}

/** Whose calls count together: an IPv6 customer has more addresses than anybody could count. */
function subjectOf(actor: Caller | null, { address }: RequestInfo): string {
  return actor === null ? addressGroup(address) : callerId(actor)
}

function limit(kernel: Kernel, operation: Operation, { actor, request }: Call): void {
  if (!kernel.config.rateLimits.enabled) return
  const waitMs = kernel.limiter.take(operation.limit, subjectOf(actor, request))
  if (waitMs === 0) return
  throw new Failure('rate_limited', `Too many calls of ${operation.name}`, {
    retryAfterMs: waitMs,
    limit: operation.limit,
  })
}

function checkedKey(operation: Operation, key: string | undefined): string | undefined {
  if (key === undefined) return undefined
  if (typeof key !== 'string' || !KEY.test(key)) {
    throw new Failure('validation_failed', 'Not an idempotency key', {
      errors: [{ path: '/key', message: '1 to 255 printable ASCII characters' }],
    })
  }
  // On reads and on operations that repeat naturally a key changes nothing.
  return operation.idempotent ? key : undefined
}

/** Runs a `handler` operation as a unit of work, with its idempotency record. */
async function write(
  kernel: Kernel,
  operation: Operation,
  context: Context<never>,
  call: { readonly input: unknown; readonly stepUp: string | undefined },
  keyed?: Keyed,
): Promise<Outcome> {
  const { form } = operation
  if (form.kind !== 'handler') throw new Error(`${operation.name} is not a handler operation`)
  const { input } = call
  const prepared = await form.prepare?.(context, input as never)
  return await unitOfWork(kernel, context, async (ctx: WriteContext<never>): Promise<Outcome> => {
    const act = async () => {
      // Not for a repeated request: its answer exists, and its token is used up.
      if (form.stepUp !== undefined && (await form.stepUp(ctx, input as never))) {
        await kernel.stepUp.require(ctx, operation, input, call.stepUp)
      }
      const output = await form.handler(ctx, input as never, prepared)
      // Before the commit: a wrong answer must not count, nor be remembered under a key.
      if (outputsAreChecked) checkedOutput(operation, output)
      return output
    }
    if (keyed === undefined) return { output: await act() }
    return await answerOnce(kernel, form.secretOutput, ctx, input, keyed, act)
  })
}

/** Answers are our own work: a wrong one is a bug, so it is looked for outside production. */
function checkedOutput(operation: Operation, output: unknown): void {
  if (operation.validOutput.check(output)) return
  const errors = operation.validOutput.errors(output)
  throw new Error(`${operation.name} answered against its schema: ${JSON.stringify(errors)}`)
}
let outputsAreChecked = true
/** Turns the check of answers against their schemas off (production) or on. */
export function checkOutputs(on: boolean): void {
  outputsAreChecked = on
}
function checked(operation: Operation, output: unknown): Outcome {
  if (outputsAreChecked) checkedOutput(operation, output)
  return { output }
}

function asFailure(kernel: Kernel, operation: Operation, call: Call, error: unknown): Failure {
  if (error instanceof Failure) {
    if (error.code === 'internal')
      kernel.log.error('operation failed', report(operation, call, error))
    return error
  }
  kernel.log.error('operation failed', report(operation, call, error))
  return new Failure('internal', `Internal error; request ${call.request.id}`)
}

/** What nobody gets who merely mistypes. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['forbidden', 'mfa_required'])

/** Writes down who was refused what. The refusal is answered, also where this fails. */
async function recordRefusal(
  { audit, log }: Kernel,
  operation: Operation,
  { actor, request }: Call,
  { code }: Failure,
): Promise<void> {
  try {
    await audit.record({
      action: 'access.denied',
      outcome: 'denied',
      target: { type: 'operation', id: operation.name },
      after: { code },
      caller: actor,
      request,
    })
  } catch (error) {
    log.error('refusal not in the audit log', { operation: operation.name, error })
  }
}

function report(operation: Operation, call: Call, error: unknown) {
  return { operation: operation.name, request_id: call.request.id, error }
}

/** Latency by operation and outcome, with the label handles resolved once. */
function observer({ metrics, clock }: Kernel) {
  const histogram = metrics.histogram(
    'operation_duration_seconds',
    'Time from an operation call to its outcome, by operation and outcome',
    ['operation', 'outcome'],
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  )
  const good = new Map<Operation, HistogramHandle>()
  return (operation: Operation, outcome: ErrorCode | 'ok', startMs: number) => {
    let handle = outcome === 'ok' ? good.get(operation) : undefined
    if (handle === undefined) {
      handle = histogram.labels({ operation: operation.name, outcome })
      if (outcome === 'ok') good.set(operation, handle)
    }
    handle.observe((clock.monotonicMs() - startMs) / 1000)
  }
}
