/** The documents name files of this repository: those are there, and each section names its own. */

import { describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { join as joinPath } from 'node:path/posix'

const root = join(import.meta.dir, '../..')
const textOf = (path: string) => readFileSync(join(root, path), 'utf8')
const scan = (pattern: string) =>
  [...new Bun.Glob(pattern).scanSync({ cwd: root, onlyFiles: false })].map((path) =>
    path.replaceAll('\\', '/'),
  )

/** Trees of this repository; a path in a document begins with one of them. */
const TREES = 'src,realtime,jobs,db,scripts,test,bench,docs,deploy'
/** Other people's, or made by programs. */
const FOREIGN = /(^|\/)node_modules\/|^bench\/(peers|gen)\//

const pages = scan('docs/*.md').toSorted()
const documents = [
  'README.md',
  'AGENTS.md',
  'SECURITY.md',
  ...pages,
  ...scan('docs/decisions/*.md').toSorted(),
  ...scan(`{${TREES}}/**/README.md`).toSorted(),
].filter((path) => !FOREIGN.test(path))

/** Names files throughout instead of at the end of its sections. */
const NAMES_THEM_IN_THE_TEXT = ['docs/architecture.md']

/** Not `jobs/s`, which is a unit. */
const PATH = new RegExp(
  `(?<![\\w./-])(?:${TREES.replaceAll(',', '|')})/(?!s\\b)[\\w./*<>{},…-]*`,
  'g',
)
const LINK = /\[([^\]]*)\]\(([^)\s]+)\)/g

/** Whether a path is there, perhaps without its ending; `*`, `…`, `<name>` stand for anything. */
function isThere(path: string): boolean {
  if (existsSync(join(root, path))) return true
  const pattern = path.replaceAll(/<\w+>|…/g, '*').replace(/\/$/, '')
  if (/[*{]/.test(pattern)) return scan(pattern).length > 0
  return ['.ts', '.test.ts'].some((ending) => existsSync(join(root, path + ending)))
}

/** How GitHub names a heading in an address. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')

/** Where a link of a document leads nowhere. */
function isDead(document: string, target: string): boolean {
  if (/^(https?|mailto):/.test(target)) return false
  const [file = '', anchor] = target.split('#')
  const path = file === '' ? document : joinPath(dirname(document), file)
  if (!existsSync(join(root, path))) return true
  if (anchor === undefined) return false
  const headings = [...textOf(path).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading)
  return !headings.some((heading) => anchorOf(heading) === anchor)
}

/** What a document names and is not there. */
function missingIn(document: string, text: string): string[] {
  return text.split('\n').flatMap((line, index) => {
    const paths = [...line.matchAll(PATH)].map(([path]) => path.replace(/[.,]+$/, ''))
    const links = [...line.matchAll(LINK)].map(([, , target = '']) => target)
    return [
      ...paths.filter((path) => !isThere(path)),
      ...links.filter((target) => isDead(document, target)),
    ].map((what) => `${document}:${index + 1} ${what}`)
  })
}

interface Part {
  readonly depth: number
  readonly heading: string
  text: string
}

/** A page by its headings; what is in blocks of code is none. */
function partsOf(text: string): Part[] {
  const parts: Part[] = []
  let fenced = false
  for (const line of text.split('\n')) {
    if (line.trimStart().startsWith('```')) fenced = !fenced
    const [, marks, heading = ''] = (!fenced && /^(#{1,3}) (.*)$/.exec(line)) || []
    if (marks !== undefined) parts.push({ depth: marks.length, heading, text: '' })
    else if (parts.length > 0) parts.at(-1)!.text += `${line}\n`
  }
  return parts
}

const FILES_MAX = 5
const ENTRY = String.raw`\[([\w./-]+)\]\(\.\./\1\)`
const FILES = /^Files: /

/** The line at the end of a part, on one line; undefined where it has none. */
function filesOf({ text }: Part): string | undefined {
  const last = text.trim().split('\n\n').at(-1) ?? ''
  return FILES.test(last) ? last.replaceAll('\n', ' ') : undefined
}

/** What is wrong with the line itself. */
function flawsOfLine(line: string): string[] {
  const [files = '', tests] = line.replace(FILES, '').replace(/\.$/, '').split('; held by ')
  const count = files.split(', ').length
  return [
    ...[files, ...(tests === undefined ? [] : [tests])]
      .filter((list) => list.split(', ').some((entry) => !new RegExp(`^${ENTRY}$`).test(entry)))
      .map((list) => `not a list of files: ${list}`),
    ...(count > FILES_MAX ? [`${count} files: name the ${FILES_MAX} to open first`] : []),
    ...(line.endsWith('.') ? [] : ['no full stop']),
  ]
}

/** Sections that do not end with the files they are about; those of a page with none are one. */
function unsignedIn(text: string): string[] {
  const parts = partsOf(text)
  const sections: Part[][] = []
  for (const part of parts) {
    if (part.depth === 2) sections.push([part])
    else if (part.depth === 3) sections.at(-1)?.push(part)
  }
  if (sections.length === 0) sections.push(parts.slice(0, 1))
  return sections.flatMap((section) => {
    const signed = section.filter((part) => filesOf(part) !== undefined)
    const whole = signed.length === 1 && signed[0] === section.at(-1)
    const each = section.filter((part) => part.text.trim() !== '')
    const unsigned = whole ? [] : each.filter((part) => !signed.includes(part))
    return [
      ...unsigned.map(({ heading }) => `${heading}: no files`),
      ...signed.flatMap((part) =>
        flawsOfLine(filesOf(part)!).map((flaw) => `${part.heading}: ${flaw}`),
      ),
    ]
  })
}

describe('what documents name', () => {
  test.each(documents)('in %s is there', (path) => {
    expect(missingIn(path, textOf(path))).toEqual([])
  })

  test('is found when it is not there', () => {
    const text = [
      'Right: `src/main.ts`, test/auth/refresh, test/docs/*, `db/schema/<feature>.ts`, docs/.',
      'Wrong: `src/nowhere.ts`, in a block: npm test -- test/services/*',
      '[right](../src/main.ts) [right](realtime.md#recovery) [right](https://example.org/src/x)',
      '[wrong](../src/nowhere) [wrong](realtime.md#nowhere) [wrong](nowhere.md)',
    ].join('\n')
    expect(missingIn('docs/jobs.md', text)).toEqual([
      'docs/jobs.md:2 src/nowhere.ts',
      'docs/jobs.md:2 test/services/*',
      'docs/jobs.md:4 ../src/nowhere',
      'docs/jobs.md:4 realtime.md#nowhere',
      'docs/jobs.md:4 nowhere.md',
    ])
  })
})

describe('each section ends with the files it is about', () => {
  test.each(pages.filter((path) => !NAMES_THEM_IN_THE_TEXT.includes(path)))('in %s', (path) => {
    expect(unsignedIn(textOf(path))).toEqual([])
  })

  test('and one that does not is found', () => {
    const files = 'Files: [src/main.ts](../src/main.ts);\nheld by [test/jobs](../test/jobs).\n'
    const page = (...parts: string[]) => unsignedIn(['# Title\n', ...parts].join('\n'))
    expect(page('## A', 'Text.', '', files, '## B', 'Text.', '', files)).toEqual([])
    expect(page('## A', 'Text.', '', '### B', 'Text.', '', files)).toEqual([])
    expect(page('Text.', '', files)).toEqual([])
    expect(page('## A', 'Text.', '', files, '## B', 'Text.')).toEqual(['B: no files'])
    expect(page('## A', files, '### B', 'Text.', '', files, '### C', '')).toEqual([])
    expect(page('## A', 'Text.', '', '### B', files, '### C', files)).toEqual(['A: no files'])
    expect(page('## A', '```md', '## B', '```', '', files)).toEqual([])
    expect(page('Text.')).toEqual(['Title: no files'])
    expect(page('## A', 'Files: [here](../src/main.ts).')).toEqual([
      'A: not a list of files: [here](../src/main.ts)',
    ])
    const many = Array.from({ length: 6 }, () => '[src/main.ts](../src/main.ts)').join(', ')
    expect(page('## A', `Files: ${many}`)).toEqual([
      'A: 6 files: name the 5 to open first',
      'A: no full stop',
    ])
  })
})

test('the page of the fault tests has a row for every one of them', () => {
  const files = readdirSync(join(root, 'test/faults')).filter((name) => name.endsWith('.test.ts'))
  const rows = [...textOf('test/faults/README.md').matchAll(/^\| `([\w-]+)` \|/gm)]
  expect(rows.map(([, name]) => `${name}.test.ts`).toSorted()).toEqual(files.toSorted())
})

test('the page of the support files names every one of them', () => {
  const page = textOf('test/support/README.md')
  const files = readdirSync(join(root, 'test/support')).filter((name) => name.endsWith('.ts'))
  const named = new Set([...page.matchAll(/`([\w-]+\.ts)`/g)].map(([, name = '']) => name))
  expect(files.filter((name) => !named.has(name))).toEqual([])
  expect([...named].filter((name) => !files.includes(name))).toEqual([])
})
