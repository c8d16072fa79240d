/**
 * What every Prometheus client says of its process, read in ways that are right under Bun.
 *
 * The heap's size comes from `memoryUsage`: `heapStats` of `bun:jsc` gives the same figure, but
 * counts every object and stops the process for 230 ms on a heap of 150 MB.
 */

import { readdirSync, readFileSync } from 'node:fs'
import type { Clock, Timer } from '../base/clock.ts'
import type { Metrics } from './metrics.ts'

/** How often the delay of the event loop is measured. */
const LAG_PERIOD_MS = 100

const LAG_BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

/** Measures how much later than asked a timer fires; returns what stops it. */
function observeEventLoop(metrics: Metrics, clock: Clock): Timer {
  const lag = metrics
    .histogram('event_loop_lag_seconds', 'How late timers fire', [], LAG_BUCKETS_SECONDS)
    .labels()
  let timer: Timer
  const arm = () => {
    const due = clock.monotonicMs() + LAG_PERIOD_MS
    timer = clock.setTimeout(() => {
      lag.observe(Math.max(0, clock.monotonicMs() - due) / 1_000)
      arm()
    }, LAG_PERIOD_MS)
  }
  arm()
  return { cancel: () => timer.cancel() }
}

function openFileMetrics(metrics: Metrics): void {
  metrics.gauge('process_open_fds', 'Open file descriptors', [], (gauge) => {
    // Reading the folder opens one more.
    gauge.labels().set(readdirSync('/proc/self/fd').length - 1)
  })
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]
  if (limit === undefined) return
  metrics.gauge('process_max_fds', 'Limit of open file descriptors').labels().set(Number(limit))
}

/** Registers the metrics of the process; the result stops the measurement of the event loop. */
export function observeProcess(metrics: Metrics, clock: Clock): Timer {
  const onDemand = (name: string, help: string, read: () => number) =>
    metrics.gauge(name, help, [], (gauge) => gauge.labels().set(read()))

  onDemand('process_resident_memory_bytes', 'Memory in use, as the system sees it', () =>
    process.memoryUsage.rss(),
  )
  onDemand(
    'process_heap_bytes',
    'Size of the JavaScript heap',
    () => process.memoryUsage().heapUsed,
  )
  metrics
    .gauge('process_start_time_seconds', 'When the process began, since the Unix epoch')
    .labels()
    .set(clock.now() / 1_000 - process.uptime())
  metrics.counter('process_cpu_seconds_total', 'Processor time used', [], (counter) => {
    const { user, system } = process.cpuUsage()
    counter.labels().advanceTo((user + system) / 1e6)
  })
  if (process.platform === 'linux') openFileMetrics(metrics)
  return observeEventLoop(metrics, clock)
}
