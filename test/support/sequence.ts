/** What can be wrong with the offsets that one reader saw of one channel. */
export interface Faults {
  /** Came after a higher one. */
  readonly reorders: number
  /** Places where the next one was skipped, whether it came later or not. */
  readonly gaps: number
  readonly duplicates: number
}

/** Compares offsets, in the order of arrival, with `from + 1, from + 2, …`. */
export function faultsOf(offsets: readonly number[], from: number): Faults {
  const seen = new Set<number>()
  let [highest, reorders, gaps, duplicates] = [from, 0, 0, 0]
  for (const offset of offsets) {
    if (seen.has(offset) || offset <= from) duplicates++
    else if (offset < highest) reorders++
    else if (offset > highest + 1) gaps++
    seen.add(offset)
    highest = Math.max(highest, offset)
  }
  return { reorders, gaps, duplicates }
}

export const FAULTLESS: Faults = { reorders: 0, gaps: 0, duplicates: 0 }

/** All faults together. */
export function total({ reorders, gaps, duplicates }: Faults): number {
  return reorders + gaps + duplicates
}
