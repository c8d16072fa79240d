/** One thing that is measured, and how its figures are shown. */
export interface Scenario {
  readonly name: string
  readonly group: string
  readonly title: string
  /** What `rate` counts, or absent where there is only a duration. */
  readonly unit?: string
  /** The peer that ratios refer to. */
  readonly base?: string
  /** Figures shown beside rate and processor use, with their headings. */
  readonly columns: Readonly<Record<string, string>>
}

const LATENCY = { p50_ms: 'p50 ms', p99_ms: 'p99 ms' }
const EVENT = { ...LATENCY, event_bytes: 'event bytes' }
const MESSAGE = { ...EVENT, delivery_p99_ms: 'p99 ms to recipient' }
const ANSWER = { ...LATENCY, event_bytes: 'body bytes' }

/** Everything the bench measures, in the order in which a turn runs it. */
export const SCENARIOS = [
  {
    name: 'storm',
    group: 'storm',
    title: 'Storm: 5,000 authenticated connections, each with its personal channel',
    unit: 'connections',
    base: 'bun-json',
    columns: { kib_per_connection: 'KiB each' },
  },
  {
    name: 'fan-w1',
    group: 'fan',
    title: 'Fan-out to 1,000 subscribers, one post at a time',
    unit: 'deliveries',
    base: 'bun-json',
    columns: EVENT,
  },
  {
    name: 'fan-w32',
    group: 'fan',
    title: 'Fan-out to 1,000 subscribers, 32 posts outstanding',
    unit: 'deliveries',
    base: 'bun-json',
    columns: EVENT,
  },
  {
    name: 'fan-fixed',
    group: 'fan',
    title: 'Fan-out to 1,000 subscribers at 100 posts a second (open loop)',
    unit: 'deliveries',
    base: 'bun-json',
    columns: { ...EVENT, lost: 'lost' },
  },
  {
    name: 'stored-w1',
    group: 'stored',
    title: 'Fan-out to 1,000 of what is committed and numbered first, one post at a time',
    unit: 'deliveries',
    columns: EVENT,
  },
  {
    name: 'stored-w32',
    group: 'stored',
    title: 'The same, 32 posts outstanding',
    unit: 'deliveries',
    columns: EVENT,
  },
  {
    name: 'stored-fixed',
    group: 'stored',
    title: 'The same at 100 posts a second (open loop)',
    unit: 'deliveries',
    columns: { ...EVENT, lost: 'lost' },
  },
  {
    name: 'dm-500',
    group: 'dm',
    title: 'Acknowledged messages between two users, 500 outstanding',
    unit: 'messages',
    base: 'bun-json',
    columns: MESSAGE,
  },
  {
    name: 'dm-2000',
    group: 'dm',
    title: 'Acknowledged messages between two users, 2,000 outstanding',
    unit: 'messages',
    base: 'bun-json',
    columns: MESSAGE,
  },
  {
    name: 'dm-open',
    group: 'dm',
    title: 'Acknowledged messages between two users, 2,000 a second (open loop)',
    unit: 'messages',
    base: 'bun-json',
    columns: { ...MESSAGE, lost: 'lost' },
  },
  {
    name: 'typing',
    group: 'typing',
    title: 'Typing: ephemeral frames between two users, 500 pairs',
    unit: 'frames',
    base: 'bun-json',
    columns: EVENT,
  },
  {
    name: 'recovery',
    group: 'recovery',
    title: 'Recovery of 10 missed events each by 5,000 connected users',
    unit: 'users',
    columns: LATENCY,
  },
  {
    name: 'recovery-back',
    group: 'recovery',
    title: 'The same with 5,000 users who reconnect',
    unit: 'users',
    columns: { all_back_ms: 'ms until all are back' },
  },
  {
    name: 'http-plain',
    group: 'http',
    title: 'Signed-in GET without a query, 64 connections',
    unit: 'requests',
    base: 'bare-http',
    columns: ANSWER,
  },
  {
    name: 'http-query',
    group: 'http',
    title: 'Signed-in GET with one query, 64 connections',
    unit: 'requests',
    base: 'bare-http',
    columns: ANSWER,
  },
  {
    name: 'start-first',
    group: 'start',
    title: 'First start in an empty data folder, until /health answers',
    columns: { ms: 'ms', cpu_ms: 'CPU ms' },
  },
  {
    name: 'start-warm',
    group: 'start',
    title: 'Warm start, until /health answers',
    columns: { ms: 'ms', cpu_ms: 'CPU ms' },
  },
] as const satisfies readonly Scenario[]

export type ScenarioName = (typeof SCENARIOS)[number]['name']
