import { type Result, summarise } from './results.ts'
import type { ScenarioName } from './scenarios.ts'

/** A figure that our server is to reach. */
interface Target {
  readonly scenario: ScenarioName
  readonly figure: string
  /** Compare with the same figure of this peer. */
  readonly of?: string
  readonly atLeast?: number
  readonly atMost?: number
  readonly says: string
}

const TARGETS: readonly Target[] = [
  {
    scenario: 'fan-w1',
    figure: 'rate',
    of: 'bun-json',
    atLeast: 0.95,
    says: 'fan-out, one at a time, of Bun JSON',
  },
  {
    scenario: 'fan-w32',
    figure: 'rate',
    of: 'bun-json',
    atLeast: 0.95,
    says: 'fan-out, 32 outstanding, of Bun JSON',
  },
  {
    scenario: 'fan-fixed',
    figure: 'p99_ms',
    of: 'bun-json',
    atMost: 1.2,
    says: 'p99 at 100,000 deliveries/s, of Bun JSON',
  },
  {
    scenario: 'typing',
    figure: 'rate_per_cpu',
    of: 'bun-json',
    atLeast: 1,
    says: 'typing per CPU second, of Bun JSON',
  },
  { scenario: 'dm-500', figure: 'rate', atLeast: 15_000, says: 'messages/s, 500 outstanding' },
  { scenario: 'dm-2000', figure: 'rate', atLeast: 25_000, says: 'messages/s, 2,000 outstanding' },
  { scenario: 'dm-open', figure: 'p99_ms', atMost: 5, says: 'ms p99 at 2,000 messages/s' },
  {
    scenario: 'storm',
    figure: 'rate',
    of: 'bun-json',
    atLeast: 0.7,
    says: 'storm of 5,000, of Bun JSON',
  },
  { scenario: 'storm', figure: 'kib_per_connection', atMost: 8, says: 'KiB a connection' },
  {
    scenario: 'recovery',
    figure: 'rate_per_cpu',
    atLeast: 20_000,
    says: 'recoveries a CPU second',
  },
  { scenario: 'recovery-back', figure: 'all_back_ms', atMost: 5000, says: 'ms until all are back' },
  {
    scenario: 'http-plain',
    figure: 'rate',
    of: 'bare-http',
    atLeast: 0.7,
    says: 'GET without a query, of bare Bun',
  },
  {
    scenario: 'http-query',
    figure: 'rate',
    of: 'bare-http',
    atLeast: 0.8,
    says: 'GET with one query, of bare Bun',
  },
  { scenario: 'start-warm', figure: 'ms', atMost: 1500, says: 'ms warm start' },
]

/** A target and what was measured. */
export interface Judgement {
  readonly figure: string
  readonly wanted: string
  readonly reached: string
  readonly met: boolean
}

/** Compares the medians of our server with the targets; leaves out what was not measured. */
export function judgeTargets(results: readonly Result[]): readonly Judgement[] {
  return TARGETS.flatMap(({ scenario, figure, of, atLeast, atMost, says }) => {
    const ours = summarise(results, 'ours', scenario)?.median(figure)
    const theirs = of === undefined ? 1 : summarise(results, of, scenario)?.median(figure)
    if (ours === undefined || theirs === undefined) return []
    const reached = ours / theirs
    const met = reached >= (atLeast ?? 0) && reached <= (atMost ?? Infinity)
    const limit = atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`
    return [{ figure: says, wanted: limit, reached: places(reached), met }]
  })
}

function places(value: number): string {
  return value < 100 ? value.toFixed(2) : value.toFixed(0)
}
