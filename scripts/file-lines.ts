/** The line that ends a section of the documents: which files do what it says. */

const COLUMNS = 110

const link = (path: string) => `[${path}](../${path})`

/**
 * `Files: …; held by …`, as links from `docs/`, in lines that are not too long.
 * @param files those that a maintainer opens first
 * @param tests those that fail when the section is no longer true
 */
export function fileLines(files: readonly string[], tests: readonly string[] = []): string[] {
  const parts = [
    ...files.map((path, n) => `${n === 0 ? 'Files: ' : ''}${link(path)}`),
    ...tests.map((path, n) => `${n === 0 ? 'held by ' : ''}${link(path)}`),
  ]
  const lines: string[] = []
  for (const [n, part] of parts.entries()) {
    const mark = n === parts.length - 1 ? '.' : n === files.length - 1 ? ';' : ','
    const last = lines.at(-1)
    const longer = `${last} ${part}${mark}`
    if (last !== undefined && longer.length <= COLUMNS) lines[lines.length - 1] = longer
    else lines.push(`${part}${mark}`)
  }
  return lines
}
