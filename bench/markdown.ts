/** A table of Markdown; all columns but the first are aligned to the right. */
export function renderTable(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
): string[] {
  const lines = [heading, heading.map((_, column) => (column === 0 ? '---' : '--:')), ...rows]
  return lines.map((line) => `| ${line.join(' | ')} |`)
}

/** Four significant places at most: 1.23M, 45.6k, 789, 1.23. */
export function short(value: number | undefined): string {
  if (value === undefined) return '–'
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)}k`
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(2)
}
