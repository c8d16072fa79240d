import { Failure } from '../src/base/errors.ts'
import type { Outcome } from '../src/kernel/call.ts'
import type { Executor } from '../src/kernel/execute.ts'
import type { Registry } from '../src/kernel/feature.ts'
import { refuseNul } from '../src/kernel/input.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import type { Operation } from '../src/kernel/operation.ts'
import type { GatewayLimits } from './codes.ts'
import type { CommandHandler } from './command-handlers.ts'
import type { CommandName } from './commands.ts'
import type { Connection } from './connection.ts'
import type { WaitingFrame } from './dialects/dialect.ts'
import { ackFrame, errorFrame, parseFrame, pongFrame } from './dialects/native.ts'

/** Handles the text frames of sockets: in order, one answer each. */
export interface FrameHandler {
  onText(connection: Connection, text: string): void
  /** Goes on with frames that waited for the connection to be ready. */
  pump(connection: Connection): void
}

export interface FrameParts {
  readonly kernel: Kernel
  readonly executor: Executor
  readonly commands: Readonly<Record<CommandName, CommandHandler>>
  readonly operations: Registry['operations']
  readonly limits: GatewayLimits
  readonly draining: () => boolean
}

/** What one may say before saying who one is. */
const STRANGERS_MAY = new Set(['authenticate', 'ping', 'heartbeat'])
const MINUTE_MS = 60_000
/** Refused calls count a fraction of a bad frame: a busy client is not a broken one. */
const RATE_LIMITED_WEIGHT = 0.1

/** Makes the handler of an instance. */
export function createFrameHandler(parts: FrameParts): FrameHandler {
  const { kernel, executor, commands, operations, limits } = parts

  const refuse = (connection: Connection, id: string | undefined, failure: Failure) => {
    connection.send(errorFrame(id, failure))
    const weight = weightOf(failure)
    if (weight === 0) return
    const nowMs = kernel.clock.monotonicMs()
    if (nowMs - connection.errorsSinceMs > MINUTE_MS) {
      connection.errors = 0
      connection.errorsSinceMs = nowMs
    }
    connection.errors += weight
    if (connection.errors > limits.errorsPerMinuteMax) connection.close('too_many_errors')
  }

  const acknowledge = (connection: Connection, frame: WaitingFrame, outcome: Outcome) => {
    if (frame.id !== undefined) connection.send(ackFrame(frame.id, outcome))
  }

  const fail = (connection: Connection, frame: WaitingFrame, error: unknown) => {
    refuse(connection, frame.id, error instanceof Failure ? error : unexpected(frame, error))
  }
  const unexpected = (frame: WaitingFrame, error: unknown) => {
    kernel.log.error('frame failed', { type: frame.type, error })
    return new Failure('internal')
  }

  /** Counts a running frame and goes on with the queue when the last one is done. */
  const track = (connection: Connection, done: Promise<void>) => {
    connection.running++
    connection.last = done
    void done.then(() => {
      connection.running--
      if (connection.running > 0) return
      connection.runningBatch = undefined
      connection.last = undefined
      connection.chained = false
      if (connection.waiting !== undefined) pump(connection)
    })
  }

  const call = (connection: Connection, operation: Operation, frame: WaitingFrame) => {
    let outcome: Outcome | Promise<Outcome>
    try {
      outcome = executor.execute(operation, {
        actor: connection.actor ?? null,
        request: connection.request,
        input: frame.payload,
        key: frame.key,
        stepUp: frame.stepUp,
      })
    } catch (error) {
      // Earlier calls of the same batch are still to be answered, and answers keep the order.
      if (connection.last === undefined) return fail(connection, frame, error)
      connection.chained = true
      return track(
        connection,
        connection.last.then(() => fail(connection, frame, error)),
      )
    }
    if (!(outcome instanceof Promise)) return acknowledge(connection, frame, outcome)
    if (operation.form.kind === 'batch' && frame.key === undefined) {
      connection.runningBatch = operation
    }
    // A batch answers its calls in order; only behind a refused one that order must be made.
    const settled = connection.chained ? after(connection.last, outcome) : outcome
    track(
      connection,
      settled.then(
        (value) => acknowledge(connection, frame, value),
        (error: unknown) => fail(connection, frame, error),
      ),
    )
  }

  const start = (connection: Connection, frame: WaitingFrame) => {
    if (frame.refused !== undefined) return refuse(connection, frame.id, frame.refused)
    if (frame.type === 'ping' || frame.type === 'heartbeat') {
      return connection.send(pongFrame(frame.id, kernel.clock.iso()))
    }
    if (Object.hasOwn(commands, frame.type)) {
      const answer = commands[frame.type as CommandName](connection, frame)
      if (answer !== undefined) {
        track(
          connection,
          answer.catch((error: unknown) => fail(connection, frame, error)),
        )
      }
      return
    }
    const operation = operations.get(frame.type)
    if (operation === undefined || !operation.socket) {
      const why = `There is no operation ${frame.type.slice(0, 64)}`
      return refuse(connection, frame.id, new Failure('unknown_operation', why))
    }
    call(connection, operation, frame)
  }

  const startSafely = (connection: Connection, frame: WaitingFrame) => {
    try {
      start(connection, frame)
    } catch (error) {
      fail(connection, frame, error)
    }
  }

  /** The frame, or its refusal to those who have not said who they are and to all at the end. */
  const admitted = (connection: Connection, frame: WaitingFrame, text: string): WaitingFrame => {
    const { type, id } = frame
    if (connection.actor === undefined && !STRANGERS_MAY.has(type)) {
      return refused(id, new Failure('unauthenticated', 'Authenticate first'))
    }
    if (parts.draining()) {
      return refused(id, new Failure('unavailable', 'The server is going away; connect again'))
    }
    // Only an escape can bring the character into JSON, so most payloads are not walked.
    return text.includes('\\u0000') ? withoutNul(frame) : frame
  }

  /** Calls of one batch operation may run together: the batch keeps their order. */
  const mayStart = (connection: Connection, frame: WaitingFrame) =>
    connection.running === 0 ||
    (connection.runningBatch !== undefined &&
      connection.runningBatch.name === frame.type &&
      frame.key === undefined)

  const pump = (connection: Connection) => {
    const { waiting } = connection
    if (waiting === undefined || connection.held !== undefined) return
    let next = 0
    while (next < waiting.length && mayStart(connection, waiting[next] as WaitingFrame)) {
      startSafely(connection, waiting[next++] as WaitingFrame)
      if (connection.closedAs !== undefined) return
    }
    if (next === waiting.length) connection.waiting = undefined
    else if (next > 0) waiting.splice(0, next)
  }

  return {
    pump,
    onText(connection, text) {
      if (connection.closedAs !== undefined) return
      const parsed = parseFrame(text)
      const frame = parsed.ok
        ? admitted(connection, parsed.frame, text)
        : refused(parsed.id, new Failure('bad_frame', parsed.why))
      const opening = connection.held !== undefined && connection.actor !== undefined
      if (connection.waiting === undefined && !opening && mayStart(connection, frame)) {
        return startSafely(connection, frame)
      }
      const waiting = (connection.waiting ??= [])
      if (waiting.length >= limits.framesWaitingMax) return connection.close('too_many_errors')
      waiting.push(frame)
    },
  }
}

/** The frame, or its refusal for what the database cannot store. */
function withoutNul(frame: WaitingFrame): WaitingFrame {
  try {
    refuseNul(frame.payload)
    return frame
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    return refused(frame.id, error)
  }
}

/** A frame that is refused before it runs; it waits for its turn, since answers keep the order. */
function refused(id: string | undefined, failure: Failure): WaitingFrame {
  return { type: '', id, key: undefined, stepUp: undefined, payload: undefined, refused: failure }
}

/** `outcome`, but not before `last`; its failure is awaited by whoever gets the result. */
async function after(last: Promise<void> | undefined, outcome: Promise<Outcome>): Promise<Outcome> {
  outcome.catch(() => undefined)
  await last
  return await outcome
}

function weightOf(failure: Failure): number {
  switch (failure.code) {
    case 'bad_frame':
    case 'unknown_operation':
    case 'unauthenticated':
    case 'validation_failed':
      return 1
    case 'rate_limited':
      return RATE_LIMITED_WEIGHT
    default:
      return 0
  }
}
