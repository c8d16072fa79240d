/**
 * Who reads the configuration: finds in sources each path below `config` that is read. Whatever
 * holds the configuration is called `config` (a test holds that), or is a parameter taken apart.
 *
 * A section that is handed on as a whole (`createQuota(config.rateLimits)`) leaves our sight. Of it
 * those settings count as read whose names somebody reads of anything.
 */

import type { Node } from 'oxc-parser'
import { parseSource, visit } from '../../scripts/tidy/source.ts'

type Pattern = Extract<Node, { type: 'ObjectPattern' }>

/** What some sources read. */
export class Readers {
  /** Paths that are read by their names, sections among them: `jwt`, `jwt.accessTtlMs`. */
  private readonly paths = new Set<string>()
  /** Sections that are handed on. */
  private readonly wholes = new Set<string>()
  /** Names of properties that are read of anything. */
  private readonly names = new Set<string>()

  /** `holders` are the names of whatever holds what is read. */
  constructor(private readonly holders: readonly string[] = ['config']) {}

  /** Adds what a file reads. */
  add(path: string, text: string): void {
    const { program } = parseSource(path, text)
    /** Expressions of which only a part is read, or whether they are there. */
    const parts = new Set<Node>()
    visit(program, {
      MemberExpression: (node) => {
        parts.add(bare(node.object))
        if (node.property.type !== 'Identifier' || node.computed) return
        this.names.add(node.property.name)
        const read = this.pathOf(node)
        if (read === undefined) return
        this.paths.add(read)
        if (!parts.has(node)) this.wholes.add(read)
      },
      BinaryExpression: ({ left, right }) => {
        parts.add(bare(left))
        parts.add(bare(right))
      },
      VariableDeclarator: ({ id, init }) => {
        if (id.type !== 'ObjectPattern') return
        if (init === null) return
        const read = this.pathOf(bare(init))
        if (read === undefined) return
        parts.add(bare(init))
        this.takeApart(id, read)
      },
      ObjectPattern: (node) => {
        this.takeApart(node, undefined)
        const { typeAnnotation } = node
        if (!typeAnnotation) return
        const written = text.slice(typeAnnotation.start, typeAnnotation.end)
        if (/^:\s*Config$/.test(written)) this.takeApart(node, '')
      },
    })
  }

  /** Whether anybody reads the setting at `path`. */
  reads(path: string): boolean {
    if (this.paths.has(path)) return true
    const steps = path.split('.')
    const sections = steps.slice(1).map((_, n) => steps.slice(0, n + 1).join('.'))
    return sections.some((one) => this.wholes.has(one)) && this.names.has(steps.at(-1)!)
  }

  /** What `node` is below the configuration; empty for the configuration itself. */
  private pathOf(node: Node): string | undefined {
    const isHolder = (name: string) => this.holders.includes(name)
    if (node.type === 'Identifier') return isHolder(node.name) ? '' : undefined
    if (node.type !== 'MemberExpression' || node.computed) return undefined
    if (node.property.type !== 'Identifier') return undefined
    const { name } = node.property
    return isHolder(name) ? '' : joined(this.pathOf(bare(node.object)), name)
  }

  /** `{ a, b: { c } }`, taken from `path`; of something else when that is undefined. */
  private takeApart({ properties }: Pattern, path: string | undefined): void {
    for (const property of properties) {
      if (property.type !== 'Property' || property.key.type !== 'Identifier') continue
      const { name } = property.key
      this.names.add(name)
      const isHolder = path === undefined && this.holders.includes(name)
      const below = isHolder ? '' : joined(path, name)
      if (below === undefined) continue
      if (below !== '') this.paths.add(below)
      const { value } = property
      if (value.type === 'ObjectPattern') this.takeApart(value, below)
      else if (below !== '') this.wholes.add(below)
    }
  }
}

function joined(path: string | undefined, name: string): string | undefined {
  if (path === undefined) return undefined
  return path === '' ? name : `${path}.${name}`
}

/** Without what TypeScript and `?.` wrap around an expression. */
function bare(node: Node): Node {
  const wrapped = ['ChainExpression', 'TSNonNullExpression', 'ParenthesizedExpression']
  return wrapped.includes(node.type) && 'expression' in node ? bare(node.expression as Node) : node
}
