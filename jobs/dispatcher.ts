import type { Timer } from '../src/base/clock.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { type Capacity, type Form, FORMS } from './capacity.ts'
import { LeaseLost } from './execution.ts'
import type { Leases } from './leases.ts'
import type { Runner } from './runner.ts'

/** Finds due jobs and hands them to the runner. */
export interface Dispatcher {
  start(): void
  /** Something may have come to be due: looks now. Many calls at once are one look. */
  look(): void
  /** A place is free: looks where something due may wait. */
  fill(): void
  /** Compares, with the next look, what is held here with what the database takes for held here. */
  reconcile(): void
  /** Takes nothing more. */
  stop(): Promise<void>
}

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

/** Makes the dispatcher of a worker. Claims go one after another; jobs run meanwhile. */
export function createDispatcher({
  kernel,
  leases,
  capacity,
  runner,
}: DispatcherParts): Dispatcher {
  const { clock, log } = kernel
  let wanted = false
  let stopped = false
  let running: Promise<void> | undefined
  let orphans = false
  let doubt = false
  let troubled = false
  let polling = false
  let claimingOverdue: Promise<void> | undefined
  const timers: { poll?: Timer; due?: Timer } = {}

  const claim = async (form: Form) => {
    const rooms = capacity.ask(form)
    if (rooms.length === 0) return
    const most = capacity.free(form)
    const jobs = await leases.claim(rooms, most, [...capacity.overrun])
    capacity.answer(rooms, most, jobs)
    for (const job of jobs) runner.begin(job, false)
  }
  const takeOver = async () => {
    const open = capacity.open()
    if (!orphans || open.length === 0 || runner.isolating()) return
    const jobs = await leases.takeOver(open, [...capacity.overrun])
    orphans = jobs.length > 0
    for (const job of jobs) runner.begin(job, true)
  }
  const compare = async () => {
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
  const claimOverdue = async () => {
    const open = capacity.open()
    if (open.length === 0) return
    try {
      for (const job of await leases.claimOverdue(open, OVERDUE_MS)) runner.begin(job, false)
    } catch (error) {
      // Not in its turn yet; it stays overdue, and so this is tried again.
      log.debug('an overdue job was not free', { error })
    }
  }
  const work = async () => {
    while (wanted && !stopped) {
      wanted = false
      try {
        // Not while an answer to a claim is under way: its job would seem to be unknown here.
        if (doubt && claimingOverdue === undefined) {
          await compare()
          doubt = false
        }
        await takeOver()
        await Promise.all(FORMS.map(claim))
        troubled = false
      } catch (error) {
        if (!troubled) log.warn('queues not reached, trying again', { error })
        troubled = true
        doubt = true
        capacity.hope()
        await clock.sleep(AWAY_MS)
      }
    }
  }
  const kick = () => {
    wanted = true
    if (running !== undefined || stopped) return
    running = work().finally(() => {
      running = undefined
      if (wanted) kick()
    })
  }
  const look = () => {
    capacity.hope()
    kick()
  }
  const poll = async () => {
    if (polling || stopped) return
    polling = true
    try {
      const { dueInMs, abandoned } = await leases.look(capacity.all())
      if (stopped) return
      if (abandoned) orphans = true
      if (dueInMs !== null && dueInMs < -OVERDUE_MS) {
        claimingOverdue ??= claimOverdue().finally(() => (claimingOverdue = undefined))
      }
      if (abandoned || doubt || (dueInMs !== null && dueInMs <= 0)) look()
      else if (dueInMs !== null && dueInMs < POLL_MS) {
        timers.due?.cancel()
        timers.due = clock.setTimeout(look, Math.ceil(dueInMs) + EARLY_MS)
      }
    } catch (error) {
      log.debug('queues not looked at', { error })
    } finally {
      polling = false
    }
  }
  return {
    look,
    fill: kick,
    reconcile: () => (doubt = true),
    start() {
      timers.poll = clock.setInterval(() => void poll(), POLL_MS)
      void poll()
      look()
    },
    async stop() {
      stopped = true
      timers.poll?.cancel()
      timers.due?.cancel()
      await running
      await claimingOverdue
    },
  }
}
