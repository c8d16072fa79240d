import { describe, expect, test } from 'bun:test'
import prom from 'prom-client'
import { testClock } from '../../src/base/clock.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { observeProcess } from '../../src/observe/process-metrics.ts'

/** The text's samples and headers as a set of lines with labels sorted. */
function normalised(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) =>
      line.replace(/\{(.*)\}/, (_, labels: string) => {
        return `{${labels
          .match(/\w+="(?:[^"\\]|\\.)*"/g)!
          .sort()
          .join(',')}}`
      }),
    )
    .sort()
}

describe('text format', () => {
  test('says the same as prom-client for the same observations', async () => {
    const register = new prom.Registry()
    const metrics = createMetrics()
    const nasty = 'a"b\\c\nd'
    const help = 'Help with \\ and\nline break'
    const buckets = [0.005, 0.1, 1]

    const counter = metrics.counter('requests_total', help, ['route'])
    const gauge = metrics.gauge('queue_depth', 'Depth')
    const histogram = metrics.histogram('latency_seconds', 'Time', ['method', 'route'], buckets)
    const theirs = { registers: [register] }
    const counter2 = new prom.Counter({
      name: 'requests_total',
      help,
      labelNames: ['route'],
      ...theirs,
    })
    const gauge2 = new prom.Gauge({ name: 'queue_depth', help: 'Depth', ...theirs })
    const histogram2 = new prom.Histogram({
      name: 'latency_seconds',
      help: 'Time',
      labelNames: ['method', 'route'],
      buckets,
      ...theirs,
    })

    for (const route of ['/a', nasty]) {
      counter.labels({ route }).inc()
      counter.labels({ route }).inc(2.5)
      counter2.inc({ route })
      counter2.inc({ route }, 2.5)
      for (const value of [0, 0.005, 0.0051, 0.1, 0.7, 1, 3, 1e9]) {
        histogram.labels({ method: 'GET', route }).observe(value)
        histogram2.observe({ method: 'GET', route }, value)
      }
    }
    gauge.labels().set(3)
    gauge.labels().dec(10)
    gauge2.set(-7)

    expect(normalised(metrics.render())).toEqual(normalised(await register.metrics()))
    expect(metrics.contentType).toBe(register.contentType)
  })

  test('infinities are written as the format wants', () => {
    const metrics = createMetrics()
    const gauge = metrics.gauge('limit', 'Limit', ['of'])
    gauge.labels({ of: 'up' }).set(Infinity)
    gauge.labels({ of: 'down' }).set(-Infinity)
    expect(metrics.render()).toContain('limit{of="up"} +Inf\nlimit{of="down"} -Inf\n')
  })
})

describe('registry', () => {
  test('the same definition is the same metric, another one is refused', () => {
    const metrics = createMetrics()
    metrics.counter('jobs_total', 'Jobs', ['job']).labels({ job: 'a' }).inc()
    metrics.counter('jobs_total', 'Jobs', ['job']).labels({ job: 'a' }).inc()
    expect(metrics.render()).toContain('jobs_total{job="a"} 2\n')
    expect(() => metrics.counter('jobs_total', 'Jobs', ['queue'])).toThrow('defined twice')
    expect(() => metrics.gauge('jobs_total', 'Jobs', ['job'])).toThrow('defined twice')
  })

  test('what Prometheus would refuse is refused here', () => {
    const metrics = createMetrics()
    expect(() => metrics.counter('bad-name', '')).toThrow('not a metric name')
    expect(() => metrics.counter('ok_total', '', ['bad-label'])).toThrow('no label name')
    expect(() => metrics.histogram('h', '', ['le'], [1])).toThrow('no label name')
    expect(() => metrics.histogram('h', '', [], [2, 1])).toThrow('ascending')
    expect(() => metrics.histogram('h', '', [], [])).toThrow('needs buckets')
    expect(() => metrics.counter('down_total', '').labels().inc(-1)).toThrow('cannot change')
    const labelled = metrics.counter('labelled_total', '', ['a'])
    expect(() => labelled.labels({} as { a: string })).toThrow('needs label a')
  })

  test('a flood of label values ends in one series', () => {
    const metrics = createMetrics()
    const counter = metrics.counter('seen_total', 'Seen', ['path'])
    for (let i = 0; i < 2_500; i++) counter.labels({ path: `/${i}` }).inc()
    const lines = metrics.render().match(/^seen_total\{.*$/gm)!
    expect(lines).toHaveLength(2_001)
    expect(lines).toContain('seen_total{path="other"} 500')
  })

  test('collectors run at each rendering and may drop what is gone', () => {
    const metrics = createMetrics()
    let queues = { mail: 3, pay: 1 } as Record<string, number>
    metrics.gauge('queue_depth', 'Depth', ['queue'], (gauge) => {
      gauge.clear()
      for (const [queue, depth] of Object.entries(queues)) gauge.labels({ queue }).set(depth)
    })
    expect(metrics.render()).toContain('queue_depth{queue="pay"} 1\n')
    queues = { mail: 2 }
    expect(metrics.render()).toContain('queue_depth{queue="mail"} 2\n')
    expect(metrics.render()).not.toContain('pay')
  })
})

describe('process', () => {
  const read = (text: string, name: string) =>
    Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1])

  test('memory, processor time, start time and open files are plausible', () => {
    const metrics = createMetrics()
    observeProcess(metrics, testClock(Date.now()))
    const before = metrics.render()
    const rss = read(before, 'process_resident_memory_bytes')
    expect(rss).toBeGreaterThan(10e6)
    expect(read(before, 'process_heap_bytes')).toBeGreaterThan(100e3)
    expect(read(before, 'process_heap_bytes')).toBeLessThan(rss)
    expect(read(before, 'process_start_time_seconds')).toBeLessThan(Date.now() / 1_000)
    expect(read(before, 'process_start_time_seconds')).toBeGreaterThan(Date.now() / 1_000 - 86_400)
    const busyUntil = performance.now() + 60
    while (performance.now() < busyUntil);
    const seconds = (text: string) => read(text, 'process_cpu_seconds_total')
    expect(seconds(metrics.render()) - seconds(before)).toBeGreaterThan(0.02)
    if (process.platform === 'linux') expect(read(before, 'process_open_fds')).toBeGreaterThan(2)
  })

  test('the lag of the event loop is how late a timer fires', () => {
    const clock = testClock(0)
    let lateMs = 0
    const late = { ...clock, monotonicMs: () => clock.monotonicMs() + lateMs }
    const metrics = createMetrics()
    const eventLoop = observeProcess(metrics, late)
    clock.advance(100)
    lateMs = 40
    clock.advance(100)
    const text = metrics.render()
    expect(read(text, 'event_loop_lag_seconds_count')).toBe(2)
    expect(read(text, 'event_loop_lag_seconds_sum')).toBeCloseTo(0.04)
    eventLoop.cancel()
    clock.advance(1_000)
    expect(read(metrics.render(), 'event_loop_lag_seconds_count')).toBe(2)
    expect(clock.pendingTimers()).toBe(0)
  })
})
