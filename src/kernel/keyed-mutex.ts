import type { Clock, Timer } from '../base/clock.ts'

/** A name that is held. */
export interface Held {
  /** What is left of the time that one was ready to wait, in milliseconds. */
  readonly leftMs: number
  release(): void
}

interface Waiting {
  readonly go: (mine: boolean) => void
  readonly timer: Timer
}

/**
 * One at a time by name, within this process. Whoever repeats a slow request waits here, where it
 * costs nothing: in the database each would hold a connection, and twenty of them all there are.
 */
export class KeyedMutex {
  readonly #clock: Clock
  /** Who waits, by name; a name without anybody waiting is being held. */
  readonly #queues = new Map<string, Set<Waiting>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Waits until nobody else has this name, in the order of asking.
   * @returns undefined when it was not free in time
   */
  async acquire(name: string, waitMsMax: number): Promise<Held | undefined> {
    const startMs = this.#clock.monotonicMs()
    const queue = this.#queues.get(name)
    if (queue === undefined) this.#queues.set(name, new Set())
    else if (!(await this.#wait(queue, waitMsMax))) return undefined
    const leftMs = Math.max(1, Math.ceil(waitMsMax - (this.#clock.monotonicMs() - startMs)))
    return { leftMs, release: () => this.#release(name) }
  }

  #wait(queue: Set<Waiting>, waitMsMax: number): Promise<boolean> {
    return new Promise((go) => {
      const timer = this.#clock.setTimeout(() => {
        queue.delete(waiting)
        go(false)
      }, waitMsMax)
      const waiting = { go, timer }
      queue.add(waiting)
    })
  }

  #release(name: string): void {
    const queue = this.#queues.get(name)
    const [next] = queue ?? []
    if (next === undefined) {
      this.#queues.delete(name)
      return
    }
    queue?.delete(next)
    next.timer.cancel()
    next.go(true)
  }
}
