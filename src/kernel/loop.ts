import type { Clock, Timer } from '../base/clock.ts'

export interface LoopParts {
  readonly clock: Clock
  /**
   * One round of the work. Resolves with the ms until the next one: 0 is at once, `Infinity` only
   * when told. The signal is aborted by `stop`, for a round that waits for something.
   */
  readonly round: (stopping: AbortSignal) => Promise<number>
  /** A round has thrown; `first` when the one before had not. */
  readonly failed: (error: unknown, first: boolean) => void
  /** A round went well after one that had thrown. */
  readonly recovered?: () => void
  /** From a failure to the next try, in ms. Kicks do not shorten it: each commit may be one. */
  readonly retryMs: number
}

/**
 * Work that runs when told or every so often, and never twice at the same time in one process.
 * Nothing runs before the first `kick` or `kickIn`.
 */
export class Loop {
  readonly #parts: LoopParts
  readonly #stopping = new AbortController()
  #wanted = false
  #failing = false
  #timer: Timer | undefined
  #running: Promise<void> | undefined

  constructor(parts: LoopParts) {
    this.#parts = parts
  }

  /** Begins a round, or asks for one more after the one that runs. Many kicks are one round. */
  kick(): void {
    this.#wanted = true
    if (this.#running !== undefined || this.#stopping.signal.aborted) return
    this.#timer?.cancel()
    this.#running = this.#run()
  }

  /** Begins a round in so many ms, unless a kick comes before. */
  kickIn(waitMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.#parts.clock.setTimeout(() => this.kick(), waitMs)
  }

  /** Resolves when no round runs and none is asked for. */
  async idle(): Promise<void> {
    await this.#running
  }

  /** Begins no other round; resolves when the one that runs has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#timer?.cancel()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, round, failed, recovered, retryMs } = this.#parts
    const { signal } = this.#stopping
    let waitMs = 0
    while ((this.#wanted || waitMs <= 0) && !signal.aborted) {
      this.#wanted = false
      try {
        waitMs = await round(signal)
        if (this.#failing) recovered?.()
        this.#failing = false
      } catch (error) {
        failed(error, !this.#failing)
        this.#failing = true
        await clock.sleep(retryMs, signal).catch(() => undefined)
        waitMs = 0
      }
    }
    // In the same turn as the last look at `wanted`: a kick that came in between would be lost.
    this.#running = undefined
    if (!signal.aborted && waitMs < Infinity) this.kickIn(waitMs)
  }
}
