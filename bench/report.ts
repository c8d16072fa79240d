import { renderTable, short } from './markdown.ts'
import type { Peer } from './peers.ts'
import { type Result, summarise, type Summary } from './results.ts'
import { type Scenario, SCENARIOS } from './scenarios.ts'
import { judgeTargets } from './targets.ts'

/** What a report says about the run itself. */
export interface Circumstances {
  readonly command: string
  readonly date: string
  readonly machine: string
  readonly pinning: string
  readonly versions: Readonly<Record<string, string>>
  /** Peers that could not run, and why. */
  readonly absent: readonly string[]
}

/** The digits of an offset may differ between peers, nothing else. */
const EVENT_BYTES_APART = 4

type Row = readonly string[]

/** The whole report in Markdown. */
export function renderReport(
  results: readonly Result[],
  peers: readonly Peer[],
  about: Circumstances,
): string {
  const measured = SCENARIOS.filter(({ name }) => results.some((r) => r.scenario === name))
  return [
    '# Results',
    '',
    `Written by \`${about.command}\` on ${about.date}. [README.md](README.md) says how to read it.`,
    '',
    `- Machine: ${about.machine}. ${about.pinning}`,
    `- Versions: ${Object.entries(about.versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', ')}.`,
    ...about.absent.map((reason) => `- Not measured: ${reason}.`),
    ...renderTargets(results),
    ...measured.flatMap((scenario) => renderScenario(results, peers, scenario)),
    ...renderUnequalEvents(results, peers),
    ...renderFailures(results),
    '',
  ].join('\n')
}

function renderTargets(results: readonly Result[]): string[] {
  const rows = judgeTargets(results).map(({ figure, wanted, reached, met }) => [
    figure,
    wanted,
    reached,
    met ? 'reached' : '**missed**',
  ])
  if (rows.length === 0) return []
  return ['', '## Figures to reach', '', ...renderTable(['figure', 'wanted', 'measured', ''], rows)]
}

function renderScenario(
  results: readonly Result[],
  peers: readonly Peer[],
  scenario: Scenario,
): string[] {
  const { name, title, unit, base, columns } = scenario
  const baseline = base === undefined ? undefined : summarise(results, base, name)
  const rows = peers.flatMap((peer) => {
    const summary = summarise(results, peer.name, name)
    if (summary === undefined) return []
    return [[peer.title, ...cells(summary, baseline, scenario)]]
  })
  const of = base === undefined ? [] : ['ratio', 'ratio per CPU']
  const heading =
    unit === undefined
      ? ['peer', 'runs', ...Object.values(columns)]
      : [
          'peer',
          'runs (quiet)',
          `${unit}/s`,
          'per CPU-s',
          ...of,
          ...Object.values(columns),
          'CPU server',
          'CPU Postgres',
          'CPU generator',
        ]
  return ['', `## ${title}`, '', `\`${name}\``, '', ...renderTable(heading, rows)]
}

function cells(summary: Summary, baseline: Summary | undefined, scenario: Scenario): Row {
  const figure = (name: string): string => short(summary.median(name))
  const extra = Object.keys(scenario.columns).map(figure)
  if (scenario.unit === undefined) return [String(summary.runs), ...extra]
  const ratios = ['rate', 'rate_per_cpu'].map((name) => ratio(summary, baseline, name))
  return [
    `${summary.runs} (${summary.undisturbed})`,
    figure('rate'),
    figure('rate_per_cpu'),
    ...(scenario.base === undefined ? [] : ratios),
    ...extra,
    ...['server_cpu', 'postgres_cpu', 'generator_cpu'].map(figure),
  ]
}

function ratio(summary: Summary, baseline: Summary | undefined, figure: string): string {
  const [value, of] = [summary.median(figure), baseline?.median(figure)]
  return value === undefined || of === undefined ? '–' : (value / of).toFixed(2)
}

/** Peers that send events of another size do not do the same work: says so. */
function renderUnequalEvents(results: readonly Result[], peers: readonly Peer[]): string[] {
  const notes = SCENARIOS.filter(({ group }) => group !== 'http').flatMap(({ name }) => {
    const sizes = peers.flatMap((peer) => {
      const bytes = summarise(results, peer.name, name)?.median('event_bytes')
      return bytes === undefined ? [] : [{ peer: peer.name, bytes }]
    })
    const all = sizes.map(({ bytes }) => bytes)
    if (Math.max(...all) - Math.min(...all) <= EVENT_BYTES_APART) return []
    return [`- ${name}: ${sizes.map(({ peer, bytes }) => `${peer} ${bytes}`).join(', ')}`]
  })
  return notes.length === 0 ? [] : ['', '## Events of unequal size: do not compare', '', ...notes]
}

function renderFailures(results: readonly Result[]): string[] {
  const failed = results.filter(({ failures }) => failures > 0)
  if (failed.length === 0) return []
  const rows = failed.map(({ peer, scenario, round, failures, failure }) => [
    `${peer} ${scenario}`,
    String(round + 1),
    String(failures),
    failure,
  ])
  return [
    '',
    '## Runs that failed',
    '',
    ...renderTable(['run', 'round', 'failures', 'first'], rows),
  ]
}
