/** One holder at a time, in the order of asking. */
export interface Mutex {
  acquire(): Promise<void>
  release(): void
}

/** Makes a mutex within this process. */
export function createMutex(): Mutex {
  let held = false
  const waiting: (() => void)[] = []
  return {
    acquire() {
      if (!held) {
        held = true
        return Promise.resolve()
      }
      return new Promise((resolve) => waiting.push(resolve))
    },
    release() {
      const next = waiting.shift()
      if (next === undefined) held = false
      else next()
    },
  }
}
