import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** RESULTS.md is written by several benches: each owns what lies between its two marks. */
const FILE = join(import.meta.dir, 'RESULTS.md')

const marks = (name: string) => [`<!-- ${name} -->`, `<!-- end of ${name} -->`] as const

/** Replaces a bench's section of RESULTS.md, or adds it at the end. */
export function writeSection(name: string, markdown: string): void {
  const [begin, end] = marks(name)
  const text = readFileSync(FILE, 'utf8')
  const section = `${begin}\n\n${markdown.trim()}\n\n${end}\n`
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0) return writeFileSync(FILE, `${text.trimEnd()}\n\n${section}`)
  writeFileSync(FILE, text.slice(0, from) + section + text.slice(to + end.length + 1))
}

/** The sections of other benches, to be kept when the rest is written anew. */
export function otherSections(): string {
  const text = readFileSync(FILE, 'utf8')
  const first = text.search(/^<!-- (?!end of )/m)
  return first < 0 ? '' : `\n${text.slice(first)}`
}
