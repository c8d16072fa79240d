import type { Broker } from './broker.ts'

/** The broker of a single process: nobody else to tell. */
export function createMemoryBroker(): Broker {
  return {
    kind: 'memory',
    start: () => Promise.resolve(),
    publish: () => undefined,
    ready: () => true,
    close: () => Promise.resolve(),
  }
}
