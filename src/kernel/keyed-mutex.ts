import type { Clock, Timer } from '../base/clock.ts'
import { service } from './kernel.ts'

/**
 * One at a time by name, within this process. Whoever repeats a slow request waits here, where it
 * costs nothing: in the database each would hold a connection, and twenty of them all there are.
 */
export interface KeyedMutex {
  /**
   * Waits until nobody else has this name, in the order of asking.
   * @returns the milliseconds left of `waitMsMax`, and how to let the next one go; undefined when
   * the turn did not come in time
   */
  take(name: string, waitMsMax: number): Promise<Turn | undefined>
}

export interface Turn {
  readonly leftMs: number
  release(): void
}

interface Waiting {
  readonly go: (mine: boolean) => void
  readonly timer: Timer
}

/** The mutex of a server. */
export const KeyedMutex = service<KeyedMutex>('keyed mutex', ({ clock }) => createKeyedMutex(clock))

/** Makes the mutex of a process. */
export function createKeyedMutex(clock: Clock): KeyedMutex {
  /** Who waits, by name; a name without anybody waiting is being held. */
  const queues = new Map<string, Set<Waiting>>()

  const release = (name: string) => {
    const queue = queues.get(name)
    const [next] = queue ?? []
    if (next === undefined) {
      queues.delete(name)
      return
    }
    queue?.delete(next)
    next.timer.cancel()
    next.go(true)
  }
  const wait = (queue: Set<Waiting>, waitMsMax: number) =>
    new Promise<boolean>((go) => {
      const timer = clock.setTimeout(() => {
        queue.delete(waiting)
        go(false)
      }, waitMsMax)
      const waiting = { go, timer }
      queue.add(waiting)
    })

  return {
    async take(name, waitMsMax) {
      const startMs = clock.monotonicMs()
      const queue = queues.get(name)
      if (queue === undefined) queues.set(name, new Set())
      else if (!(await wait(queue, waitMsMax))) return undefined
      const leftMs = Math.max(1, Math.ceil(waitMsMax - (clock.monotonicMs() - startMs)))
      return { leftMs, release: () => release(name) }
    },
  }
}
