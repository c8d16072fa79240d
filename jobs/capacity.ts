import type { Queue } from '../src/kernel/queue.ts'
import type { ClaimedJob, Room } from './leases.ts'

/** A job that this worker has: it runs, or its end is still to be noted. */
export interface Held {
  readonly job: ClaimedJob
  readonly queue: Queue
  readonly abort: AbortController
  readonly startMs: number
  /** Its handler runs; it takes a place. */
  running: boolean
}

/** The two forms of queues have their places apart, because only one of them takes connections. */
export type Form = 'handle' | 'perform'
export const FORMS: readonly Form[] = ['handle', 'perform']

/** Jobs that run at the same time in one process, over all queues of a form. */
const PLACES: Readonly<Record<Form, number>> = {
  // Each is a transaction: less than half of the pool, so that requests never wait for jobs.
  handle: 8,
  perform: 64,
}

const formOf = (queue: Queue): Form => (queue.handle === undefined ? 'perform' : 'handle')

/** Who has which place. Pure bookkeeping: knows neither the database nor time. */
export class Capacity {
  readonly #queues: Readonly<Record<Form, readonly Queue[]>>
  readonly #running = new Map<string, number>()
  readonly #taken: Record<Form, number> = { handle: 0, perform: 0 }
  readonly #onFree: () => void
  /** Queues in which something due may wait. */
  readonly #hopeful = new Set<string>()
  #turn = 0
  /** By job. */
  readonly held = new Map<string, Held>()
  /** Jobs whose handlers did not stop when told to, and still run though nobody waits for them. */
  readonly overrun = new Set<string>()

  /** @param onFree told of every place that becomes free */
  constructor(queues: Iterable<Queue>, onFree: () => void) {
    this.#onFree = onFree
    const all = [...queues]
    this.#queues = {
      handle: all.filter((queue) => formOf(queue) === 'handle'),
      perform: all.filter((queue) => formOf(queue) === 'perform'),
    }
  }

  /** Jobs whose handlers run. */
  get running(): number {
    return this.#taken.handle + this.#taken.perform
  }

  runningOf(queue: string): number {
    return this.#running.get(queue) ?? 0
  }

  take(held: Held): void {
    this.held.set(held.job.id, held)
    this.#count(held.queue, 1)
  }

  /** Its handler has ended: another may start. */
  vacate(held: Held): void {
    if (!held.running) return
    held.running = false
    this.#count(held.queue, -1)
    this.#onFree()
  }

  /** Nothing remains to be done about it. */
  forget(held: Held): void {
    this.vacate(held)
    this.held.delete(held.job.id)
  }

  #count(queue: Queue, by: 1 | -1): void {
    this.#running.set(queue.name, this.runningOf(queue.name) + by)
    this.#taken[formOf(queue)] += by
  }

  /** Places free for a form. */
  free(form: Form): number {
    return PLACES[form] - this.#taken[form]
  }

  /** Queues of a form that may start something; the first one changes from call to call. */
  rooms(form: Form): Room[] {
    const free = this.free(form)
    if (free <= 0) return []
    const queues = this.#queues[form]
    const first = queues.length === 0 ? 0 : this.#turn++ % queues.length
    const rooms: Room[] = []
    for (const queue of [...queues.slice(first), ...queues.slice(0, first)]) {
      const running = this.runningOf(queue.name)
      const own = Math.min(queue.concurrency - running, free)
      if (own > 0) rooms.push({ queue: queue.name, free: own, running })
    }
    return rooms
  }

  /** Something may have come to be due. */
  hope(): void {
    for (const name of this.all()) this.#hopeful.add(name)
  }

  /**
   * Queues of a form that may start something and may have something due. Until `answer`, or until
   * somebody hopes again, they are taken for empty.
   */
  ask(form: Form): Room[] {
    const rooms = this.rooms(form).filter(({ queue }) => this.#hopeful.has(queue))
    for (const { queue } of rooms) this.#hopeful.delete(queue)
    return rooms
  }

  /** What was found for those who were asked: who got all that it had room for may have more. */
  answer(rooms: readonly Room[], most: number, found: readonly ClaimedJob[]): void {
    const counts = Map.groupBy(found, ({ queue }) => queue)
    for (const { queue, free } of rooms) {
      const got = counts.get(queue)?.length ?? 0
      if (got === free || found.length >= most) this.#hopeful.add(queue)
    }
  }

  /** Names of all queues that may start something. */
  open(): string[] {
    return FORMS.flatMap((form) => this.rooms(form).map(({ queue }) => queue))
  }

  /** Names of all queues. */
  all(): string[] {
    return FORMS.flatMap((form) => this.#queues[form].map(({ name }) => name))
  }
}
