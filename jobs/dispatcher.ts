import type { Timer } from '../src/base/clock.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { Loop } from '../src/kernel/loop.ts'
import { type Capacity, type Form, FORMS } from './capacity.ts'
import { LeaseLost } from './execution.ts'
import type { Leases } from './leases.ts'
import type { Runner } from './runner.ts'

export interface DispatcherParts {
  readonly kernel: Kernel
  readonly leases: Leases
  readonly capacity: Capacity
  readonly runner: Runner
}

/** How often due jobs are looked for that nobody announced here (another instance's), in ms. */
const POLL_MS = 125
/** A job with room that is due for so long, in ms, is held up by those who enqueue its key. */
const OVERDUE_MS = 500
/** Timers may fire so much too early, in ms; then a job would wait for the next look. */
const EARLY_MS = 2
/** How long until the next look while the database is away, in ms. */
const AWAY_MS = 250

/** Finds due jobs and hands them to the runner. Claims go one after another; jobs run meanwhile. */
export class Dispatcher {
  readonly #parts: DispatcherParts
  readonly #polling: Loop
  readonly #claiming: Loop
  /** Jobs of workers that are gone may wait to be taken over. */
  #orphans = false
  /** What is held here may not be what the database takes for held here. */
  #doubt = false
  #claimingOverdue: Promise<void> | undefined
  #due: Timer | undefined

  constructor(parts: DispatcherParts) {
    this.#parts = parts
    const { clock, log } = parts.kernel
    this.#polling = new Loop({
      clock,
      round: (stopping) => this.#poll(stopping),
      failed: (error) => log.debug('queues not looked at', { error }),
      retryMs: POLL_MS,
    })
    this.#claiming = new Loop({
      clock,
      round: () => this.#claimAll(),
      failed: (error, first) => {
        if (first) log.warn('queues not reached, trying again', { error })
        this.#doubt = true
        parts.capacity.hope()
      },
      retryMs: AWAY_MS,
    })
  }

  start(): void {
    this.#polling.kick()
    this.look()
  }

  /** Something may have come to be due: looks now. Many calls at once are one look. */
  look(): void {
    this.#parts.capacity.hope()
    this.#claiming.kick()
  }

  /** A place is free: looks where something due may wait. */
  fill(): void {
    this.#claiming.kick()
  }

  /** Compares, with the next look, what is held here with what the database takes for held here. */
  reconcile(): void {
    this.#doubt = true
  }

  /** Takes nothing more. */
  async stop(): Promise<void> {
    this.#due?.cancel()
    await Promise.all([this.#polling.stop(), this.#claiming.stop()])
    await this.#claimingOverdue
  }

  /** Sees whether something is due, or will be before the next poll. */
  async #poll(stopping: AbortSignal): Promise<number> {
    const { kernel, leases, capacity } = this.#parts
    const { dueInMs, abandoned } = await leases.look(capacity.all())
    if (stopping.aborted) return POLL_MS
    if (abandoned) this.#orphans = true
    if (dueInMs !== null && dueInMs < -OVERDUE_MS) {
      this.#claimingOverdue ??= this.#claimOverdue().finally(() => {
        this.#claimingOverdue = undefined
      })
    }
    if (abandoned || this.#doubt || (dueInMs !== null && dueInMs <= 0)) this.look()
    else if (dueInMs !== null && dueInMs < POLL_MS) {
      this.#due?.cancel()
      this.#due = kernel.clock.setTimeout(() => this.look(), Math.ceil(dueInMs) + EARLY_MS)
    }
    return POLL_MS
  }

  async #claimAll(): Promise<number> {
    // Not while an answer to a claim is under way: its job would seem to be unknown here.
    if (this.#doubt && this.#claimingOverdue === undefined) {
      await this.#compare()
      this.#doubt = false
    }
    await this.#takeOver()
    await Promise.all(FORMS.map((form) => this.#claim(form)))
    return Infinity
  }

  async #claim(form: Form): Promise<void> {
    const { leases, capacity, runner } = this.#parts
    const rooms = capacity.ask(form)
    if (rooms.length === 0) return
    const most = capacity.free(form)
    const jobs = await leases.claim(rooms, most, [...capacity.overrun])
    capacity.answer(rooms, most, jobs)
    for (const job of jobs) runner.begin(job, false)
  }

  async #takeOver(): Promise<void> {
    const { leases, capacity, runner } = this.#parts
    const open = capacity.open()
    if (!this.#orphans || open.length === 0 || runner.isolating()) return
    const jobs = await leases.takeOver(open, [...capacity.overrun])
    this.#orphans = jobs.length > 0
    for (const job of jobs) runner.begin(job, true)
  }

  async #compare(): Promise<void> {
    const { leases, capacity } = this.#parts
    const before = [...capacity.held.values()]
    const rows = await leases.held()
    const there = new Map(rows.map(({ id, attempt }) => [id, attempt]))
    for (const held of before) {
      if (there.get(held.job.id) === held.job.attempt) continue
      // Done a moment ago, or taken by another after a silence of ours: then it must stop.
      held.abort.abort(new LeaseLost('The job is another worker’s by now'))
    }
    for (const { id, attempt } of rows) {
      if (capacity.held.get(id)?.job.attempt === attempt) continue
      // Claimed, but the answer was lost; or its end was written a moment ago, which is no harm.
      await leases.putBack({ id, attempt }, { delayMs: 0, counted: false })
    }
  }

  async #claimOverdue(): Promise<void> {
    const { kernel, leases, capacity, runner } = this.#parts
    const open = capacity.open()
    if (open.length === 0) return
    try {
      for (const job of await leases.claimOverdue(open, OVERDUE_MS)) runner.begin(job, false)
    } catch (error) {
      // Not in its turn yet; it stays overdue, and so this is tried again.
      kernel.log.debug('an overdue job was not free', { error })
    }
  }
}
