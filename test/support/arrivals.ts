import type { StreamEvent } from '../../realtime/hub.ts'
import type { TestServer } from './server.ts'

/** Writes down in which order events come to a hub, which is what a naive one would pass on. */
export function recordArrivals(server: TestServer): readonly StreamEvent[] {
  const { hub } = server.core
  const came: StreamEvent[] = []
  const receive = hub.receive.bind(hub)
  hub.receive = (events) => {
    came.push(...events)
    receive(events)
  }
  return came
}
