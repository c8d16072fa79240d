import { Failure } from '../base/errors.ts'
import type { Kernel, StreamPage } from '../kernel/kernel.ts'
import { SERVICE_STREAM, type ServiceEvent } from '../kernel/service-event.ts'
import { invalid } from './endpoints.ts'

/** A place in the stream from which on an endpoint is to be told again. */
export interface Place {
  readonly epoch: string
  readonly offset: number
  /** Events after it. */
  readonly events: number
}

/** What a caller says of the place. */
export interface Wish {
  readonly offset?: number
  readonly epoch?: string
  readonly since?: string
}

/**
 * Finds the place that a caller means: after an offset, or before the first event of a moment.
 * @throws Failure `validation_failed` | `conflict` where events from there on are gone
 */
export async function findPlace(kernel: Kernel, wish: Wish): Promise<Place> {
  const { offset, epoch, since } = wish
  if ((offset === undefined) === (since === undefined)) {
    throw invalid('/offset', 'Give either offset or since')
  }
  const head = await kernel.streams.page(SERVICE_STREAM, 0, 1)
  const oldest = head.events[0]?.offset ?? head.top + 1
  if (epoch !== undefined && epoch !== head.epoch) {
    throw new Failure(
      'conflict',
      `This is a place in another life of the stream: now ${head.epoch}`,
    )
  }
  const found = offset ?? (await offsetBefore(kernel, head, oldest, Date.parse(since as string)))
  if (found > head.top) throw invalid('/offset', `The newest event is ${head.top}`)
  if (found < oldest - 1) {
    throw new Failure('conflict', `Events up to ${oldest - 1} are gone: replay from there on`)
  }
  return { epoch: head.epoch, offset: found, events: head.top - found }
}

/** The last offset before a moment, by halving: events lie in the order of their time, nearly. */
async function offsetBefore(
  kernel: Kernel,
  { top }: StreamPage,
  oldest: number,
  sinceMs: number,
): Promise<number> {
  let [low, high] = [oldest, top + 1]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const { events } = await kernel.streams.page(SERVICE_STREAM, middle - 1, 1)
    const [event] = events
    // Trimmed meanwhile: what is left is later.
    const earlier = event === undefined || timeOf(event.payload) < sinceMs
    if (earlier) low = middle + 1
    else high = middle
  }
  return low - 1
}

const timeOf = (payload: string) => Date.parse((JSON.parse(payload) as ServiceEvent).timestamp)
