/** Comparing two contracts, and writing one so that the difference of two can be reviewed. */

const isNode = (value: unknown): value is object => typeof value === 'object' && value !== null

/** What has gone, come and changed on the way from one value to the other, by place. */
export function differencesOf(before: unknown, after: unknown, place: string[] = []): string[] {
  const where = place.join(' › ')
  if (after === undefined) return [`gone     ${where}: ${JSON.stringify(before)}`]
  if (before === undefined) return [`new      ${where}: ${JSON.stringify(after)}`]
  if (isNode(before) && isNode(after)) {
    const [old, young] = [new Map(Object.entries(before)), new Map(Object.entries(after))]
    const names = [...new Set([...old.keys(), ...young.keys()])]
    return names.flatMap((name) => differencesOf(old.get(name), young.get(name), [...place, name]))
  }
  if (before === after) return []
  return [`changed  ${where}: ${JSON.stringify(before)} → ${JSON.stringify(after)}`]
}

const COLUMNS = 100

/** JSON with sorted names, each value on one line where that fits. */
export function render(value: unknown): string {
  return `${lines(value, '')}\n`
}

function lines(value: unknown, indent: string): string {
  const short = JSON.stringify(sorted(value))
  if (!isNode(value) || short.length + indent.length <= COLUMNS) return short
  const inner = `${indent}  `
  if (Array.isArray(value)) {
    return `[\n${value.map((each) => inner + lines(each, inner)).join(',\n')}\n${indent}]`
  }
  const fields = Object.entries(sorted(value) as object)
    .filter(([, field]) => field !== undefined)
    .map(([name, field]) => `${inner}${JSON.stringify(name)}: ${lines(field, inner)}`)
  return `{\n${fields.join(',\n')}\n${indent}}`
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (!isNode(value)) return value
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, field]) => [name, sorted(field)]),
  )
}
