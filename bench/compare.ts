import { type Checkout, commitOf } from './checkout.ts'
import { renderTable, short } from './markdown.ts'
import { type Result, summarise } from './results.ts'

/** Something that is compared: a scenario, or a workload of another bench. */
export interface ComparedRow {
  readonly scenario: string
  /** What its CPU is counted for. */
  readonly unit: string
}

/** Rounds and measured seconds of a run of the bench. */
export interface Effort {
  readonly rounds: number
  readonly seconds: number
}

/** Less than this of the parent is below it. */
const RATIO_MIN = 0.97
/** Where the parent differs by more than this from itself, the machine decides, not the code. */
const SPREAD_MAX = 0.03
const ROUNDS_MIN = 9
const SECONDS_MIN = 3
const ENOUGH = `${ROUNDS_MIN} rounds of ${SECONDS_MIN} s`
const TOO_SHORT = `**These figures decide nothing: it takes ${ENOUGH}.**`

/** Whether a run is long enough for a verdict. */
export function isEnough({ rounds, seconds }: Effort): boolean {
  return rounds >= ROUNDS_MIN && seconds >= SECONDS_MIN
}

/** What is known of one row. */
export interface Measured {
  /** The parent's CPU a unit, of ours: above 1, ours needs less. */
  readonly ratio: number
  /** The parent's CPU a unit, of its own in its second turns; absent where it had none. */
  readonly spread: number | undefined
  /** Rounds that count, of the peer that has the fewest. */
  readonly runs: number
}

/** The verdict on one row, with its numbers where there is none. */
export function judge({ ratio, spread, runs }: Measured, effort: Effort): string {
  const undecided = (why: string) => `*not decided*: ${why}`
  if (!isEnough(effort)) return undecided('the run is too short')
  if (runs < ROUNDS_MIN) return undecided(`${runs} rounds count`)
  if (spread === undefined) return undecided('the parent did not run against itself')
  if (Math.max(spread, 1 / spread) > 1 + SPREAD_MAX) {
    const [own, ours] = [spread, ratio].map((value) => value.toFixed(3))
    return undecided(`the parent against itself ${own}, against ours ${ours}`)
  }
  return ratio >= RATIO_MIN ? `≥ ${RATIO_MIN}` : '**below**'
}

/** Ours beside each other checkout: CPU a unit, and the checkout against itself. */
export function renderComparison(
  results: readonly Result[],
  rows: readonly ComparedRow[],
  checkouts: readonly Checkout[],
  effort: Effort,
): string[] {
  const folders = [...new Set(checkouts.map(({ folder }) => folder))]
  return folders.flatMap((folder) => {
    const [parent, twin] = checkouts.filter((checkout) => checkout.folder === folder)
    return parent === undefined ? [] : renderBeside(results, rows, effort, parent, twin)
  })
}

function renderBeside(
  results: readonly Result[],
  rows: readonly ComparedRow[],
  effort: Effort,
  parent: Checkout,
  twin: Checkout | undefined,
): string[] {
  const cells = rows.flatMap((row) => {
    const names = ['ours', parent.name, ...(twin === undefined ? [] : [twin.name])]
    const shown = compare(results, row, names, effort)
    return shown === undefined ? [] : [shown]
  })
  const own = twin === undefined ? [] : [`${twin.name} µs`]
  return [
    '',
    `## CPU a unit beside ${parent.name}`,
    '',
    `The parent is ${parent.name}, commit ${commitOf(parent.folder)}. Processor time of the server`,
    `for one unit, medians of ${effort.rounds} interleaved rounds of ${effort.seconds} s.`,
    `*parent ÷ ours* above 1: ours needs less, which is better; wanted is ${RATIO_MIN} or more.`,
    `*parent ÷ itself* is what chance does: more than ${SPREAD_MAX * 100} % away from 1,`,
    'and there is no verdict.',
    ...(isEnough(effort) ? [] : ['', TOO_SHORT]),
    '',
    ...renderTable(
      [
        'row',
        'unit',
        'rounds that count',
        'ours µs',
        `${parent.name} µs`,
        ...own,
        'parent ÷ ours',
        'parent ÷ itself',
        'verdict',
      ],
      cells,
    ),
  ]
}

function compare(
  results: readonly Result[],
  { scenario, unit }: ComparedRow,
  names: readonly string[],
  effort: Effort,
): readonly string[] | undefined {
  if (!results.some((result) => result.scenario === scenario)) return undefined
  const summaries = names.map((name) => summarise(results, name, scenario))
  const costs = summaries.map((summary) => 1e6 / (summary?.median('rate_per_cpu') ?? Number.NaN))
  const runs = Math.min(...summaries.map((summary) => summary?.runs ?? 0))
  const [ours = Number.NaN, parent = Number.NaN, twin] = costs
  const [ratio, spread] = [parent / ours, twin === undefined ? undefined : parent / twin]
  const digits = (value: number | undefined) =>
    value === undefined || Number.isNaN(value) ? '–' : value.toFixed(3)
  return [
    `\`${scenario}\``,
    unit,
    String(runs),
    ...costs.map((cost) => (Number.isNaN(cost) ? '–' : short(cost))),
    digits(ratio),
    digits(spread),
    judge({ ratio, spread, runs }, effort),
  ]
}
