/**
 * The import graph: circles, and arrows that run back up a layer. An import of a type counts like
 * any other: whoever reads or changes one file of a circle needs all of them.
 */

import { dirname, join } from 'node:path/posix'
import { layerRefusal } from './boundaries.ts'
import { type Finding, lineAt, type Source } from './source.ts'

/** By file, the files of the project that it imports, in order and each once. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>

/** Makes the graph of these files; what they import besides is left out. */
export function importGraph(sources: readonly Source[]): ImportGraph {
  const paths = new Set(sources.map(({ path }) => path))
  return new Map(
    sources.map((source) => {
      const targets = filesOf(source).map(({ to }) => to)
      return [source.path, [...new Set(targets)].filter((to) => paths.has(to))]
    }),
  )
}

/** A back arrow of the graph. */
export interface BackArrow extends Finding {
  readonly to: string
}

/** Imports that run up a layer or sideways. */
export function backArrows(sources: readonly Source[]): BackArrow[] {
  return sources.flatMap((source) =>
    filesOf(source).flatMap(({ to, offset }) => {
      const message = layerRefusal(source.path, to)
      if (message === undefined) return []
      return [{ path: source.path, to, line: lineAt(source, offset), message }]
    }),
  )
}

function filesOf({ path, imports }: Source): { to: string; offset: number }[] {
  return imports
    .filter(({ specifier }) => specifier.startsWith('.'))
    .map(({ specifier, offset }) => ({ to: join(dirname(path), specifier), offset }))
}

/**
 * Groups of files each of which imports, over others or directly, every other one of its group
 * (Tarjan's strongly connected components, SIAM J. Comput. 1972), and files that import themselves.
 */
export function circles(graph: ImportGraph): string[][] {
  const found: string[][] = []
  /** When a file was first seen. */
  const seen = new Map<string, number>()
  /** Files that were seen and whose group is still open, oldest first. */
  const open: string[] = []
  /** @returns when the oldest open file that `path` leads to was first seen */
  const walk = (path: string): number => {
    const at = seen.size
    seen.set(path, at)
    open.push(path)
    let oldest = at
    for (const next of graph.get(path) ?? []) {
      if (!seen.has(next)) oldest = Math.min(oldest, walk(next))
      else if (open.includes(next)) oldest = Math.min(oldest, seen.get(next)!)
    }
    if (oldest < at) return oldest
    const group = open.splice(open.indexOf(path))
    if (group.length > 1 || graph.get(path)?.includes(path)) found.push(group.toSorted())
    return at
  }
  for (const path of graph.keys()) if (!seen.has(path)) walk(path)
  return found.toSorted((a, b) => a[0]!.localeCompare(b[0]!))
}

/** One finding for each circle, at its first file. */
export function circleFindings(sources: readonly Source[]): Finding[] {
  return circles(importGraph(sources)).map((group) => ({
    path: group[0]!,
    line: 1,
    message:
      `import circle of ${group.length} files (types count): ${group.join(', ')}: move what both ` +
      'sides need into a file of its own, or declare an interface where it is used',
  }))
}
