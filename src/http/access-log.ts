import type { Kernel } from '../kernel/kernel.ts'
import type { HistogramHandle } from '../observe/metrics.ts'
import type { RestCall } from './call.ts'

/** Counts and logs the answers of one route; its label handles are resolved once. */
export type RouteLog = (call: RestCall, status: number) => void

/** Makes the log of a route. `route` is its template, never an address: addresses are endless. */
export type AccessLog = (method: string, route: string) => RouteLog

const BUCKETS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

/** One line a request at level debug, an error for each 5xx, and the histogram for all. */
export function createAccessLog({ clock, log, metrics }: Kernel): AccessLog {
  const histogram = metrics.histogram(
    'http_request_duration_seconds',
    'Time from the start of a request to its answer, by method, route and status',
    ['method', 'route', 'status'],
    BUCKETS_S,
  )
  const verbose = log.enabled('debug')

  return (method, route) => {
    const handles = new Map<number, HistogramHandle>()
    return (call, status) => {
      const durationMs = clock.monotonicMs() - call.startMs
      let handle = handles.get(status)
      if (handle === undefined) {
        handle = histogram.labels({ method, route, status: String(status) })
        handles.set(status, handle)
      }
      handle.observe(durationMs / 1000)
      if (!verbose && status < 500) return
      const fields = { method, route, status, duration_ms: durationMs, request_id: call.id }
      if (status >= 500) log.error('request failed', fields)
      else log.debug('request', { ...fields, address: call.address })
    }
  }
}
