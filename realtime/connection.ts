import type { ServerWebSocket } from 'bun'
import type { Actor, RequestInfo } from '../src/kernel/access.ts'
import type { Operation } from '../src/kernel/operation.ts'
import { CLOSE, type CloseName } from './codes.ts'
import type { WaitingFrame } from './dialects/dialect.ts'
import type { Subscriber } from './hub.ts'

export type Socket = ServerWebSocket<Connection>

/** What Bun's `send` answers when the frame has to wait. */
const BACKPRESSURE = -1

/** Connections with queued frames. */
let dirty: Connection[] = []

function flushAll(): void {
  const all = dirty
  dirty = []
  for (const connection of all) connection.flush()
}

/**
 * One socket: who it belongs to, what it is subscribed to, and what it is waiting for. Its frames
 * are handled in order, so it also holds the queue.
 */
export class Connection implements Subscriber {
  socket: Socket | undefined
  actor: Actor | undefined
  readonly subscriptions = new Set<string>()
  /** Frames that have come while another was running. Made when first needed. */
  waiting: WaitingFrame[] | undefined
  /** Frames that are running; more than one only when they are calls of one batch operation. */
  running = 0
  runningBatch: Operation | undefined
  /** The answer of the newest running frame has been sent. */
  last: Promise<void> | undefined
  /** A refused call stands between running calls of a batch: those after it must wait for it. */
  chained = false
  /** Between opening and the `connected` frame, everything else waits here. */
  held: string[] | undefined
  private outgoing: string | string[] | undefined
  /** Bytes wait for a reader that does not keep up, as far as has been noticed. */
  behind = false
  errors = 0
  errorsSinceMs = 0
  closedAs: CloseName | undefined
  private info: RequestInfo | undefined

  constructor(
    readonly id: string,
    /** The client's address where a trusted proxy has told it. */
    private readonly forwarded: string | undefined,
    actor: Actor | undefined,
  ) {
    this.actor = actor
  }

  /** Where the calls of this socket come from. */
  get request(): RequestInfo {
    return (this.info ??= {
      id: this.id,
      transport: 'socket',
      address: this.forwarded ?? this.socket?.remoteAddress ?? '',
      // Only signing in asks for it, and nobody signs in over a socket.
      userAgent: undefined,
      connectionId: this.id,
    })
  }

  /** Queues a frame; everything that one turn of the loop says to a socket is one write. */
  send(frame: string): void {
    if (this.held !== undefined) {
      this.held.push(frame)
    } else if (this.outgoing === undefined) {
      this.outgoing = frame
      if (dirty.push(this) === 1) setImmediate(flushAll)
    } else if (typeof this.outgoing === 'string') {
      this.outgoing = [this.outgoing, frame]
    } else {
      this.outgoing.push(frame)
    }
  }

  /**
   * Sends a frame before anything that a topic brings: the answer to `subscribe` must not be
   * overtaken by the first event.
   */
  sendNow(frame: string): void {
    if (this.held !== undefined) {
      this.held.push(frame)
      return
    }
    this.flush()
    this.write(frame)
  }

  /** Sends `first`, then what was held back for it. */
  release(first: string): void {
    const { held, socket } = this
    this.held = undefined
    socket?.cork(() => {
      this.write(first)
      for (const frame of held ?? []) this.write(frame)
    })
  }

  /** Writes what is queued. */
  flush(): void {
    const { outgoing, socket } = this
    this.outgoing = undefined
    if (outgoing === undefined || socket === undefined) return
    if (typeof outgoing === 'string') {
      this.write(outgoing)
    } else {
      socket.cork(() => {
        for (const frame of outgoing) this.write(frame)
      })
    }
  }

  private write(frame: string): void {
    if (this.socket?.send(frame) === BACKPRESSURE) this.behind = true
  }

  join(topic: string): void {
    this.socket?.subscribe(topic)
  }

  leave(topic: string): void {
    this.socket?.unsubscribe(topic)
  }

  insufficient(): void {
    this.close('insufficient_state')
  }

  close(as: CloseName): void {
    if (this.closedAs !== undefined) return
    this.closedAs = as
    this.waiting = undefined
    this.flush()
    this.socket?.close(CLOSE[as].code, CLOSE[as].reason)
  }
}
