/** One run of one scenario against one peer: a line of results.jsonl. */
export interface Result {
  readonly peer: string
  /** A scenario, or a workload of another bench. */
  readonly scenario: string
  readonly round: number
  readonly figures: Readonly<Record<string, number>>
  /** Connections or answers that failed; such a run does not count. */
  readonly failures: number
  readonly failure: string
}

/** Others used more than this much of a core: the run was disturbed. */
const OTHERS_CPU_MAX = 0.15

/** Reads a line of the generator's. */
export function readResult(line: string, round: number): Result {
  const { peer, scenario, failures, failure, ...figures } = JSON.parse(line)
  return { peer, scenario, round, figures, failures, failure }
}

/** Several runs of one scenario against one peer. */
export interface Summary {
  readonly runs: number
  readonly undisturbed: number
  /**
   * Median of a figure. What others on the machine spoil (rates, latencies) comes from undisturbed
   * runs where there are any; processor time per unit from all.
   */
  median(figure: string): number | undefined
}

/** Figures that hold when the server had to share the machine. */
const ROBUST = new Set(['rate_per_cpu', 'kib_per_connection', 'event_bytes', 'lost'])

/** Sums up the runs of one scenario against one peer that did not fail. */
export function summarise(
  results: readonly Result[],
  peer: string,
  scenario: string,
): Summary | undefined {
  const all = results.filter(
    (result) => result.peer === peer && result.scenario === scenario && result.failures === 0,
  )
  if (all.length === 0) return undefined
  const quiet = all.filter(({ figures }) => (figures.others_cpu ?? 0) < OTHERS_CPU_MAX)
  return {
    runs: all.length,
    undisturbed: quiet.length,
    median(figure) {
      const from = quiet.length === 0 || ROBUST.has(figure) ? all : quiet
      return median(from.flatMap(({ figures }) => figures[figure] ?? []))
    },
  }
}

function median(values: readonly number[]): number | undefined {
  const sorted = values.toSorted((a, b) => a - b)
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  return low === undefined || high === undefined ? undefined : (low + high) / 2
}
