/**
 * `npm run imports`: how many files there are, import circles (types count) and arrows that run
 * back up a layer. Ends with 1 when there are any. `npm run check` refuses the same.
 */

import { dirname } from 'node:path'
import { readSources } from './tidy.ts'
import { backArrows, circles, importGraph } from './tidy/graph.ts'

const sources = readSources(process.argv[2] ?? dirname(import.meta.dir))
const graph = importGraph(sources)
const groups = circles(graph)
const arrows = backArrows(sources)

console.log(`files                 ${sources.length}`)
console.log(`import circles        ${groups.length}`)
for (const group of groups) {
  console.log(`  a circle of ${group.length} files:`)
  for (const path of group) {
    const inside = graph.get(path)?.filter((to) => group.includes(to)) ?? []
    console.log(`    ${path} → ${inside.join(', ')}`)
  }
}
console.log(`arrows back up        ${arrows.length}`)
for (const { path, line, to } of arrows) console.log(`  ${path}:${line} → ${to}`)
process.exit(groups.length + arrows.length > 0 ? 1 : 0)
