/**
 * The house rules that no linter knows, run by `bun run check`. Each finding names its
 * replacement. `bun scripts/tidy.ts [folder]` checks another tree.
 */

import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { boundaries } from './tidy/boundaries.ts'
import { circleFindings } from './tidy/graph.ts'
import { ownedGlobals } from './tidy/owners.ts'
import { docstrings, functionLengths, marks, sizes } from './tidy/shape.ts'
import { type Finding, isIn, parseSource, type Source } from './tidy/source.ts'

const rules: readonly ((source: Source) => Finding[])[] = [
  sizes,
  functionLengths,
  marks,
  docstrings,
  ownedGlobals,
  boundaries,
]

const checked = ['src', 'realtime', 'db', 'jobs', 'scripts', 'test', 'bench', 'web', 'clients']
const skipped = ['bench/peers/', 'bench/gen/', 'db/migrations/']
/** Folders of these trees open with a README or a docblock. */
const described = ['src/', 'realtime/', 'db/', 'jobs/']

/** Every rule on one file. */
export function checkFile(path: string, text: string): Finding[] {
  const source = parseSource(path, text)
  return rules.flatMap((rule) => rule(source))
}

/** Every rule on a project. */
export function checkProject(root: string): Finding[] {
  const sources = readSources(root)
  const paths = sources.map(({ path }) => path)
  return [
    ...sources.flatMap((source) => rules.flatMap((rule) => rule(source))),
    ...circleFindings(sources),
    ...folderFindings(root, paths),
    ...lockFindings(root),
  ]
}

/** The files of a project that the rules look at, parsed. */
export function readSources(root: string): Source[] {
  return sourcePaths(root).map((path) => parseSource(path, readFileSync(join(root, path), 'utf8')))
}

function sourcePaths(root: string): string[] {
  return scan(root, `{${checked.join(',')}}/**/*.{ts,tsx,mjs}`)
    .filter((path) => !isIn(path, skipped) && !/(^|\/)(node_modules|dist)\//.test(path))
    .toSorted()
}

/** Folders that do not say what they are for. */
function folderFindings(root: string, paths: readonly string[]): Finding[] {
  const folders = new Set(paths.filter((path) => isIn(path, described)).map(dirname))
  folders.delete('src')
  return [...folders].flatMap((folder) => {
    const openings = [
      join(folder, 'index.ts'),
      `${folder}.ts`,
      join(folder, `${basename(folder)}.ts`),
    ]
    const opens = (path: string) =>
      existsSync(join(root, path)) && readFileSync(join(root, path), 'utf8').startsWith('/**')
    if (existsSync(join(root, folder, 'README.md')) || openings.some(opens)) return []
    const message =
      'the folder does not say what it is for: add a README.md, or open index.ts with a docblock ' +
      '(purpose, invariants, concurrency, what it may import)'
    return [{ path: folder, line: 1, message }]
  })
}

/** A lockfile names versions and hashes; where they come from is the machine's business. */
function lockFindings(root: string): Finding[] {
  const findings: Finding[] = []
  for (const path of ['', '*/', '*/*/'].flatMap((under) => scan(root, `${under}bun.lock`))) {
    const lines = readFileSync(join(root, path), 'utf8').split('\n')
    const index = lines.findIndex((line) => /https?:\/\//.test(line))
    if (index < 0) continue
    const message = 'holds a download address: install without a registry override and commit that'
    findings.push({ path, line: index + 1, message })
  }
  for (const path of scan(root, '{package-lock.json,yarn.lock,pnpm-lock.yaml}')) {
    findings.push({ path, line: 1, message: 'bun.lock is the only lockfile: remove this one' })
  }
  return findings
}

function scan(root: string, pattern: string): string[] {
  return [...new Bun.Glob(pattern).scanSync({ cwd: root })].map((path) =>
    path.replaceAll('\\', '/'),
  )
}

if (import.meta.main) {
  const findings = checkProject(process.argv[2] ?? dirname(import.meta.dir))
  for (const { path, line, message } of findings) console.error(`${path}:${line} ${message}`)
  if (findings.length > 0) {
    console.error(`tidy: ${findings.length} findings`)
    process.exit(1)
  }
}
