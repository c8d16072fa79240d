import { type ErrorCode, Failure } from '../base/errors.ts'
import { addressGroup } from '../net/address.ts'
import type { HistogramHandle } from '../observe/metrics.ts'
import { type Caller, callerId, isAdmin, type RequestInfo } from './access.ts'
import { createBatcher, singly } from './batcher.ts'
import type { Call, Outcome } from './call.ts'
import type { BatchItem, Context } from './context.ts'
import type { Gather } from './gather.ts'
import { acceptInput } from './input.ts'
import type { Kernel } from './kernel.ts'
import type { BatchForm, HandlerForm, Operation } from './operation.ts'
import type { StepUp } from './step-up.ts'
import { checkOutput, write, type WriteParts } from './write.ts'

const KEY = /^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$/

/** What an executor needs beside the kernel. */
export interface ExecutorOptions {
  /** Who checks fresh second factors. */
  readonly stepUp: StepUp
  /** Whether answers, which are our own work, are checked against their schemas. */
  readonly checksOutputs: boolean
}

/** Runs operations: access, limit, input, idempotency, transaction, effects. */
export interface Executor {
  /**
   * Answers synchronously where the operation can (so that an ephemeral frame costs no promise),
   * and throws `Failure` in the same way. Unexpected errors are logged and become `internal`.
   */
  execute(operation: Operation, call: Call): Outcome | Promise<Outcome>
  /** Resolves when nothing is running any more. */
  idle(): Promise<void>
}

/** The executor of a server. */
export class OperationExecutor implements Executor {
  readonly #parts: WriteParts
  readonly #batchers = new Map<Operation, Gather<BatchItem<never>, Outcome>>()
  readonly #observe: ReturnType<typeof observer>
  readonly #whenIdle: (() => void)[] = []
  #running = 0

  constructor(kernel: Kernel, options: ExecutorOptions) {
    this.#parts = { kernel, ...options }
    this.#observe = observer(kernel)
  }

  execute(operation: Operation, call: Call): Outcome | Promise<Outcome> {
    const startMs = this.#parts.kernel.clock.monotonicMs()
    let outcome: Outcome | Promise<Outcome>
    try {
      outcome = this.#start(operation, call)
    } catch (error) {
      throw this.#fail(operation, call, startMs, error)
    }
    if (outcome instanceof Promise) return this.#finish(operation, call, startMs, outcome)
    this.#observe(operation, 'ok', startMs)
    return outcome
  }

  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve()
    return new Promise((resolve) => this.#whenIdle.push(resolve))
  }

  #start(operation: Operation, call: Call): Outcome | Promise<Outcome> {
    const { kernel } = this.#parts
    const actor = authorize(operation, call.actor)
    limit(kernel, operation, call)
    const input = acceptInput(operation, call.input) as never
    const key = checkedKey(operation, call.key)
    const { request } = call
    const context: Context<never> = {
      kernel,
      clock: kernel.clock,
      actor: actor as never,
      request,
    }
    const { form } = operation
    switch (form.kind) {
      case 'immediate': {
        const output = form.immediate(context, input)
        if (output instanceof Promise) return output.then((value) => this.#answer(operation, value))
        return this.#answer(operation, output)
      }
      case 'run':
        return form.run(context, input).then((output) => this.#answer(operation, output))
      case 'batch':
        if (key === undefined && form.stepUp === undefined) {
          return this.#batcher(operation, form).submit({ actor: context.actor, input, request })
        }
        return this.#write(operation, singly(form), context, call, key, input)
      case 'handler':
        return this.#write(operation, form, context, call, key, input)
    }
  }

  #write(
    operation: Operation,
    form: HandlerForm,
    context: Context<never>,
    { actor: caller, stepUp }: Call,
    key: string | undefined,
    input: never,
  ): Promise<Outcome> {
    return write(this.#parts, operation, form, context, { caller, key, stepUp }, input)
  }

  #answer(operation: Operation, output: unknown): Outcome {
    if (this.#parts.checksOutputs) checkOutput(operation, output)
    return { output }
  }

  #batcher(operation: Operation, form: BatchForm): Gather<BatchItem<never>, Outcome> {
    let batcher = this.#batchers.get(operation)
    if (batcher === undefined) {
      batcher = createBatcher(this.#parts, operation, form)
      this.#batchers.set(operation, batcher)
    }
    return batcher
  }

  async #finish(
    operation: Operation,
    call: Call,
    startMs: number,
    outcome: Promise<Outcome>,
  ): Promise<Outcome> {
    this.#running++
    try {
      const value = await outcome
      this.#observe(operation, 'ok', startMs)
      return value
    } catch (error) {
      throw this.#fail(operation, call, startMs, error)
    } finally {
      this.#ended()
    }
  }

  #fail(operation: Operation, call: Call, startMs: number, error: unknown): Failure {
    const failure = asFailure(this.#parts.kernel, operation, call, error)
    this.#observe(operation, failure.code, startMs)
    if (REFUSALS.has(failure.code)) this.#noteRefusal(operation, call, failure)
    return failure
  }

  /** Not waited for by the answer, but by whoever waits until nothing is running any more. */
  #noteRefusal(operation: Operation, call: Call, failure: Failure): void {
    const { kernel } = this.#parts
    if (kernel.limiter.take('refusal', subjectOf(call.actor, call.request)) !== 0) return
    this.#running++
    void recordRefusal(kernel, operation, call, failure).finally(() => this.#ended())
  }

  #ended(): void {
    this.#running--
    if (this.#running === 0) for (const resolve of this.#whenIdle.splice(0)) resolve()
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

function asFailure(kernel: Kernel, operation: Operation, call: Call, error: unknown): Failure {
  const report = { operation: operation.name, request_id: call.request.id, error }
  if (error instanceof Failure) {
    if (error.code === 'internal') kernel.log.error('operation failed', report)
    return error
  }
  kernel.log.error('operation failed', report)
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
