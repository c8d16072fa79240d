/**
 * Globals with one owner: who wants time, chance, the environment or the network is handed it, so
 * that tests can freeze and replay everything else.
 */

import { isIn, lineAt, visit } from './source.ts'
import type { Finding, Source } from './source.ts'

interface Owned {
  /** `name` or `object.property`, called, or `new name` without arguments, or read. */
  readonly names: readonly string[]
  readonly owners: readonly string[]
  readonly instead: string
}

const owned: readonly Owned[] = [
  {
    names: ['Date.now', 'new Date'],
    owners: ['src/base/clock.ts'],
    instead: 'clock.now() or clock.date() of the injected Clock (src/base/clock.ts)',
  },
  {
    names: ['performance.now', 'process.hrtime', 'Bun.nanoseconds'],
    owners: ['src/base/clock.ts'],
    instead: 'clock.monotonicMs() of the injected Clock (src/base/clock.ts)',
  },
  {
    names: ['setTimeout', 'setInterval'],
    owners: ['src/base/clock.ts'],
    instead: 'clock.setTimeout() or clock.setInterval() of the injected Clock',
  },
  {
    names: ['Bun.sleep', 'Bun.sleepSync'],
    // The clock's timers let the process end; waiting for PostgreSQL to stop, or for the last
    // lines of the log to be written, must not.
    owners: ['src/base/clock.ts', 'db/embedded/', 'src/observe/log-sink.ts'],
    instead: 'clock.sleep() of the injected Clock',
  },
  {
    names: ['Math.random', 'crypto.randomUUID', 'crypto.getRandomValues', 'Bun.randomUUIDv7'],
    owners: ['src/base/ids.ts'],
    instead: 'uuidv7(), randomBytes(), randomToken() or randomInt() of src/base/ids.ts',
  },
  {
    names: ['process.env', 'Bun.env', 'import.meta.env'],
    owners: ['src/config.ts'],
    instead: 'a row in src/config/table and the Config that is handed over',
  },
  {
    names: ['fetch'],
    owners: ['src/drivers/'],
    instead: 'a driver in src/drivers/ behind its port',
  },
]

/** Where the rule holds: the product, not its tests and tools. */
const product = ['src/', 'realtime/', 'db/', 'jobs/']

const byName = new Map(owned.flatMap((entry) => entry.names.map((name) => [name, entry] as const)))

interface Expression {
  type: string
  name?: string
  object?: Expression
  property?: Expression
  computed?: boolean
}

/** `a.b.c` for a chain of plain names; undefined for anything else. */
function dotted(node: Expression): string | undefined {
  if (node.type === 'Identifier') return node.name
  if (node.type === 'MetaProperty') return 'import.meta'
  if (node.type !== 'MemberExpression' || node.computed) return undefined
  const object = node.object && dotted(node.object)
  const name = object && `${object}.${node.property?.name}`
  return name?.replace(/^globalThis\./, '')
}

/** Uses of an owned global outside its owner. */
export function ownedGlobals(source: Source): Finding[] {
  const findings: Finding[] = []
  if (!isIn(source.path, product)) return findings
  const check = (name: string | undefined, offset: number) => {
    const entry = name === undefined ? undefined : byName.get(name)
    if (!entry || isIn(source.path, entry.owners)) return
    const message = `${name} is only for ${entry.owners.join(', ')}: use ${entry.instead}`
    findings.push({ path: source.path, line: lineAt(source, offset), message })
  }
  visit(source.program, {
    CallExpression: (node) => {
      if (node.callee.type === 'Identifier') check(node.callee.name, node.start)
    },
    MemberExpression: (node) => check(dotted(node as Expression), node.start),
    NewExpression: (node) => {
      if (node.callee.type === 'Identifier' && node.arguments.length === 0) {
        check(`new ${node.callee.name}`, node.start)
      }
    },
  })
  return findings
}
