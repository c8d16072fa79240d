/** A parsed source file, and the few questions that the house rules ask of it. */

import { type Comment, parseSync, type Program, Visitor, type VisitorObject } from 'oxc-parser'

/** One breach of a rule: where it is and what to do instead. */
export interface Finding {
  readonly path: string
  readonly line: number
  readonly message: string
}

/** What every rule looks at. */
export interface Source {
  /** Relative to the project, with forward slashes. */
  readonly path: string
  readonly text: string
  readonly lines: readonly string[]
  readonly program: Program
  readonly comments: readonly Comment[]
  /** What the file imports or re-exports from, as written, with the offset of it. */
  readonly imports: readonly { specifier: string; offset: number }[]
}

/** Parses a file. @throws Error when it is not valid TypeScript */
export function parseSource(path: string, text: string): Source {
  const { program, comments, errors } = parseSync(path, text)
  if (errors[0]) throw new Error(`${path}: ${errors[0].message}`)
  const imports: { specifier: string; offset: number }[] = []
  const add = (source: { value: unknown; start: number } | null) => {
    if (typeof source?.value === 'string') {
      imports.push({ specifier: source.value, offset: source.start })
    }
  }
  visit(program, {
    ImportDeclaration: (node) => add(node.source),
    ExportNamedDeclaration: (node) => add(node.source),
    ExportAllDeclaration: (node) => add(node.source),
    TSImportType: (node) => add(node.source),
    ImportExpression: (node) => add(node.source.type === 'Literal' ? node.source : null),
  })
  return { path, text, lines: text.split('\n'), program, comments, imports }
}

/** Walks the syntax tree. */
export function visit(program: Program, visitor: VisitorObject): void {
  new Visitor(visitor).visit(program)
}

/** The line of an offset, from 1. */
export function lineAt({ text }: { text: string }, offset: number): number {
  let line = 1
  for (let i = text.indexOf('\n'); i !== -1 && i < offset; i = text.indexOf('\n', i + 1)) line++
  return line
}

/** Whether a path lies in (or is) one of `prefixes`; a folder's prefix ends with a slash. */
export function isIn(path: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) =>
    prefix.endsWith('/') ? path.startsWith(prefix) : path === prefix,
  )
}
