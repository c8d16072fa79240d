import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Expression } from 'oxc-parser'
import { parseSource, visit } from '../../scripts/tidy/source.ts'

/** Names that exist only where they are used, read from the source. */

const ROOT = join(import.meta.dir, '../..')
const sources = () =>
  [...new Bun.Glob('{src,realtime,jobs,db}/**/*.ts').scanSync({ cwd: ROOT })]
    .toSorted()
    .map((path) => parseSource(path, readFileSync(join(ROOT, path), 'utf8')))

/** The texts that an expression may be; `*` stands for what is only known at run time. */
function textsOf(expression: Expression | null): string[] {
  switch (expression?.type) {
    case 'Literal':
      return typeof expression.value === 'string' ? [expression.value] : []
    case 'TemplateLiteral':
      return [expression.quasis.map(({ value }) => value.raw).join('*')]
    case 'ConditionalExpression':
      return [...textsOf(expression.consequent), ...textsOf(expression.alternate)]
    default:
      return []
  }
}

const DOTTED = /^([a-z_]+\.[a-z_]+|[a-z_.]*\*[a-z_.*]*)$/

/**
 * Dotted names that a property of this name is set to, directly or by a constant: `action` of the
 * audit log, `kind` of acts and approvals.
 */
export function dottedNames(property: 'action' | 'kind'): string[] {
  const found = new Set<string>()
  const constants = new Map<string, string[]>()
  const named = new Set<string>()
  for (const { program } of sources()) {
    visit(program, {
      VariableDeclarator({ id, init }) {
        if (id.type !== 'Identifier') return
        constants.set(id.name, [...(constants.get(id.name) ?? []), ...textsOf(init)])
      },
      Property({ key, value }) {
        if (key.type !== 'Identifier' || key.name !== property) return
        if (value.type === 'Identifier') named.add(value.name)
        for (const text of textsOf(value as Expression)) found.add(text)
      },
    })
  }
  for (const name of named) for (const text of constants.get(name) ?? []) found.add(text)
  return [...found].filter((text) => DOTTED.test(text)).toSorted()
}

/** A metric as its definition in the source says it. */
export interface MetricDefinition {
  readonly type: string
  readonly labels: readonly string[]
}

/** Metrics whose name stands where they are made. Series, and so labels, come only with use. */
export function metricDefinitions(): Map<string, MetricDefinition> {
  const found = new Map<string, MetricDefinition>()
  for (const { program } of sources()) {
    visit(program, {
      CallExpression({ callee, arguments: [name, , labels] }) {
        if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier') return
        const type = callee.property.name
        if (!['counter', 'gauge', 'histogram'].includes(type)) return
        if (name?.type !== 'Literal' || typeof name.value !== 'string') return
        const elements = labels?.type === 'ArrayExpression' ? labels.elements : []
        const texts = elements.flatMap((each) => textsOf(each as Expression))
        found.set(name.value, { type, labels: texts.toSorted() })
      },
    })
  }
  return found
}
