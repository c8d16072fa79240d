/** Sizes, marks and docstrings: what a file must look like whatever it does. */

import { isIn, lineAt, visit } from './source.ts'
import type { Finding, Source } from './source.ts'

const FUNCTION_LINES_MAX = 70
const FILE_LINES_MAX = 500
const COLUMNS_MAX = 100

/** Where exported functions carry a docstring. */
const documented = ['src/', 'realtime/', 'db/', 'jobs/']

/** Lines that are too long, files that are two nouns. */
export function sizes({ path, lines }: Source): Finding[] {
  const findings: Finding[] = []
  if (lines.length - 1 > FILE_LINES_MAX) {
    const message = `${lines.length - 1} lines (at most ${FILE_LINES_MAX}): make it two nouns`
    findings.push({ path, line: 1, message })
  }
  for (const [index, text] of lines.entries()) {
    const columns = Bun.stringWidth(text)
    // An address cannot be broken.
    if (columns <= COLUMNS_MAX || /https?:\/\/\S{40}/.test(text)) continue
    const message = `${columns} columns (at most ${COLUMNS_MAX}): break the line`
    findings.push({ path, line: index + 1, message })
  }
  return findings
}

/**
 * Functions that do not fit a screen, not counting the functions inside them: a factory that
 * returns closures is as long as its own statements. A test's `describe` is a chapter.
 */
export function functionLengths(source: Source): Finding[] {
  const findings: Finding[] = []
  if (isIn(source.path, ['test/'])) return findings
  // Lines inside nested functions, for each function that is open while walking down.
  const nested: number[] = []
  const enter = () => void nested.push(0)
  const leave = (node: { start: number; end: number }) => {
    const first = lineAt(source, node.start)
    const length = lineAt(source, node.end) - first + 1
    const own = length - nested.pop()!
    if (nested.length > 0) nested[nested.length - 1]! += length - 1
    if (own <= FUNCTION_LINES_MAX) return
    const message =
      `function of ${own} lines of its own (at most ${FUNCTION_LINES_MAX}): ` +
      'push loops down into pure leaves, keep the decisions here'
    findings.push({ path: source.path, line: first, message })
  }
  visit(source.program, {
    FunctionDeclaration: enter,
    FunctionExpression: enter,
    ArrowFunctionExpression: enter,
    'FunctionDeclaration:exit': leave,
    'FunctionExpression:exit': leave,
    'ArrowFunctionExpression:exit': leave,
  })
  return findings
}

/** Marks of unfinished work, and tests that shut out all others. */
export function marks(source: Source): Finding[] {
  const findings: Finding[] = []
  const report = (offset: number, message: string) => {
    findings.push({ path: source.path, line: lineAt(source, offset), message })
  }
  for (const { value, start } of source.comments) {
    const mark = /\b(TODO|FIXME|XXX|HACK)\b/.exec(value)?.[1]
    if (mark) report(start, `${mark}: finish it, or list it with its owner in CHANGELOG.md`)
  }
  visit(source.program, {
    MemberExpression: ({ object, property, start }) => {
      if (object.type !== 'Identifier' || property.type !== 'Identifier') return
      if (!/^(test|it|describe)$/.test(object.name) || property.name !== 'only') return
      report(start, `${object.name}.only hides every other test: use a path or -t instead`)
    },
  })
  return findings
}

/** Exported functions without a docstring. */
export function docstrings(source: Source): Finding[] {
  if (!isIn(source.path, documented)) return []
  const findings: Finding[] = []
  const seen = new Set<string>()
  const check = (name: string, offset: number) => {
    // The first of several overloads speaks for all.
    if (seen.has(name)) return
    seen.add(name)
    if (hasDocstring(source, offset)) return
    const message = `${name} is exported: say in /** … */ what it is for, its units and its errors`
    findings.push({ path: source.path, line: lineAt(source, offset), message })
  }
  for (const node of source.program.body) {
    if (node.type !== 'ExportNamedDeclaration' && node.type !== 'ExportDefaultDeclaration') continue
    const { declaration } = node
    if (declaration?.type === 'FunctionDeclaration' || declaration?.type === 'TSDeclareFunction') {
      check(declaration.id?.name ?? 'default', node.start)
    } else if (declaration?.type === 'VariableDeclaration') {
      for (const { id, init } of declaration.declarations) {
        if (id.type !== 'Identifier' || !/Function/.test(init?.type ?? '')) continue
        check(id.name, node.start)
      }
    }
  }
  return findings
}

function hasDocstring({ comments, text }: Source, offset: number): boolean {
  return comments.some(
    ({ type, value, end }) =>
      type === 'Block' &&
      value.startsWith('*') &&
      end <= offset &&
      /^(\s|\/\/[^\n]*\n)*$/.test(text.slice(end, offset)),
  )
}
