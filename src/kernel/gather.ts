import { Failure } from '../base/errors.ts'
import type { HistogramHandle } from '../observe/metrics.ts'

/** How what was gathered is done. */
export interface Gathering<T, R> {
  /**
   * Does items together and answers each; a `Failure` among the answers is that item's own. When it
   * throws, nothing has been done.
   */
  readonly run: (items: readonly T[]) => Promise<readonly (R | Failure)[]>
  /** How many of those that wait, from the front, go together: at least one. */
  readonly fit: (waiting: readonly Waiting<T, R>[]) => number
  /** Items of a failed batch that are tried alone at the same time. */
  readonly aloneAtOnce: number
  /** A batch of several has failed as a whole, and its items are tried alone. */
  readonly split: (size: number, error: unknown) => void
  /** Observes how many items went together. */
  readonly sizes: HistogramHandle
}

/** An item whose caller waits for its answer. */
export interface Waiting<T, R> {
  readonly item: T
  readonly resolve: (result: R) => void
  readonly reject: (error: unknown) => void
}

/** Most items waiting; above that the server says so instead of growing. */
const WAITING_MAX = 20_000

/**
 * Gathers what arrives while a batch is done into the next batch: many callers share a transaction,
 * and each gets an answer of their own.
 *
 * One batch at a time. Two, chosen by sender, were measured: both want the same stream heads, wait
 * for each other there, and get half the batch each, which costs a third more.
 */
export class Gather<T, R> {
  readonly #how: Gathering<T, R>
  readonly #waiting: Waiting<T, R>[] = []
  #busy = false

  constructor(how: Gathering<T, R>) {
    this.#how = how
  }

  /**
   * Does an item together with others.
   * @throws Failure `overloaded`, and whatever came of the item
   */
  submit(item: T): Promise<R> {
    if (this.#waiting.length >= WAITING_MAX) {
      const retryAfterMs = 1_000
      return Promise.reject(new Failure('overloaded', 'Too much is waiting', { retryAfterMs }))
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (this.#busy) return
      this.#busy = true
      void this.#flush()
    })
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Those who have just been answered ask again in this turn, and what came in meanwhile is
      // read from the sockets first: it joins this batch and not the one after.
      await nextTurn()
      const batch = this.#waiting.splice(0, this.#how.fit(this.#waiting))
      this.#how.sizes.observe(batch.length)
      await this.#together(batch)
    }
    this.#busy = false
  }

  async #together(batch: readonly Waiting<T, R>[]): Promise<void> {
    try {
      const results = await this.#how.run(batch.map(({ item }) => item))
      for (const [n, { resolve, reject }] of batch.entries()) {
        const result = results[n] as R | Failure
        if (result instanceof Failure) reject(result)
        else resolve(result)
      }
    } catch (error) {
      // A database that is away is away for each of them; anything else may be one item's alone.
      if (batch.length === 1 || error instanceof Failure) {
        for (const { reject } of batch) reject(error)
        return
      }
      this.#how.split(batch.length, error)
      await this.#alone(batch)
    }
  }

  async #alone(batch: readonly Waiting<T, R>[]): Promise<void> {
    const left = batch.values()
    const work = async () => {
      for (const one of left) await this.#together([one])
    }
    await Promise.all(Array.from({ length: this.#how.aloneAtOnce }, work))
  }
}

/** Not a microtask: those run between two messages of one turn, and would gather nothing. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
