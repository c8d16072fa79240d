/**
 * Who may import whom. Layers: base < observe, money, vault, net < db, config < kernel < features <
 * edges. An import goes down, never up or sideways; of another feature it goes through its door,
 * `index.ts`, and inside a feature to the file itself (docs/decisions/017-doors-and-layers.md).
 */

import { basename, dirname, join } from 'node:path/posix'
import { type Finding, isIn, lineAt, type Source } from './source.ts'

interface Layer {
  readonly name: string
  /** The longest match of all layers counts. */
  readonly paths: readonly string[]
  /** Names of the layers that it may import, besides itself: layers below it. */
  readonly mayImport: readonly string[]
  readonly instead: string
}

/** What every layer above it may use. */
const ground = ['base', 'observe', 'money', 'vault', 'net']
const core = [...ground, 'db', 'config', 'kernel']

/** From the bottom to the top. */
export const layers: readonly Layer[] = [
  {
    name: 'base',
    paths: ['src/base/'],
    mayImport: [],
    instead: 'the ground imports nothing of ours: move what needs more up a layer',
  },
  ...['observe', 'money', 'vault', 'net'].map((name) => ({
    name,
    paths: [`src/${name}/`],
    mayImport: ['base'],
    instead: 'hand the value over as a parameter; the ground knows src/base/ only',
  })),
  {
    name: 'db',
    paths: ['db/'],
    mayImport: ground,
    instead: 'hand the value over as a parameter; the database layer knows the ground only',
  },
  {
    name: 'config',
    paths: ['src/config.ts', 'src/config/'],
    mayImport: ground,
    instead: 'keep configuration free of what it configures',
  },
  {
    name: 'kernel',
    paths: ['src/kernel/'],
    mayImport: [...ground, 'db', 'config'],
    instead: 'let the kernel define an interface (`part`) that a feature or the assembly fills',
  },
  {
    name: 'drivers',
    paths: ['src/drivers/'],
    mayImport: [...ground, 'config', 'kernel'],
    instead: 'let the port take what it needs as a parameter',
  },
  {
    name: 'feature',
    paths: ['src/', 'jobs/admin/'],
    mayImport: [...core, 'drivers'],
    instead: 'emit an event, or let the assembly hand it over: features never import an edge',
  },
  {
    name: 'http',
    paths: ['src/http/'],
    mayImport: [...core, 'feature'],
    instead: 'mount operations; what sockets do belongs to realtime/',
  },
  {
    name: 'realtime',
    paths: ['realtime/'],
    mayImport: [...core, 'feature'],
    instead: 'mount operations; what REST does belongs to src/http/',
  },
  {
    name: 'jobs',
    paths: ['jobs/'],
    mayImport: [...core, 'feature'],
    instead: 'let the job emit an event that the edge delivers',
  },
  {
    name: 'assembly',
    paths: ['src/main.ts', 'src/server.ts', 'src/features.ts'],
    mayImport: [...core, 'drivers', 'feature', 'http', 'realtime', 'jobs'],
    instead: 'move the code out of scripts, tests or benches',
  },
]

interface PackageRule {
  readonly packages: RegExp
  readonly owners: readonly string[]
  readonly instead: string
}

const packageRules: readonly PackageRule[] = [
  {
    packages: /^(elysia|@elysiajs\/(?!jwt).*)$/,
    owners: ['src/http/'],
    instead: 'take plain (context, input); only src/http/ knows Elysia',
  },
  {
    packages: /^@elysiajs\/jwt$|^jose$/,
    owners: ['src/auth/'],
    instead: 'the one verifier in src/auth/: the library accepts wrong tokens when misused',
  },
  {
    packages: /^ioredis$/,
    owners: ['realtime/', 'src/drivers/'],
    instead: 'the broker or limiter interface; the core works without Redis',
  },
]

/** The layer of a path; undefined for tests and tools, which may look into everything. */
function layerOf(path: string): Layer | undefined {
  const lengthIn = ({ paths }: Layer) =>
    Math.max(0, ...paths.filter((each) => isIn(path, [each])).map(({ length }) => length))
  const [best] = layers.toSorted((a, b) => lengthIn(b) - lengthIn(a))
  return best !== undefined && lengthIn(best) > 0 ? best : undefined
}

/** The folder of the feature that a path belongs to: `src/mail/send.ts` is of `src/mail`. */
function featureOf(path: string): string | undefined {
  if (layerOf(path)?.name !== 'feature') return undefined
  return /^(jobs\/admin|src\/[^/]+)\//.exec(path)?.[1]
}

/** Why `from` must not import `to` (both relative to the project); undefined when it may. */
export function refusal(from: string, to: string): string | undefined {
  return layerRefusal(from, to) ?? doorRefusal(from, to)
}

/** Why an import runs back up a layer, or sideways; undefined when it does not. */
export function layerRefusal(from: string, to: string): string | undefined {
  const source = layerOf(from)
  const target = layerOf(to)
  if (!source || to === 'package.json') return undefined
  if (!target) return `${source.name} imports ${to}, outside the product: ${source.instead}`
  if (target === source || source.mayImport.includes(target.name)) return undefined
  return `${source.name} must not import ${target.name} (${to}): ${source.instead}`
}

/** Why an import goes past the door of a feature; undefined when it does not. */
function doorRefusal(from: string, to: string): string | undefined {
  const feature = featureOf(to)
  if (layerOf(from) === undefined || feature === undefined) return undefined
  if (featureOf(from) === feature) {
    if (basename(to) !== 'index.ts') return undefined
    return `${to} is for other features: inside ${feature}, import the file that has it`
  }
  const door = `${feature}/index.ts`
  if (to === door) return undefined
  return `${to} is inside ${feature}: import ${door} (export it there), or react to its events`
}

/** Imports that cross a boundary. */
export function boundaries(source: Source): Finding[] {
  if (layerOf(source.path) === undefined) return []
  return source.imports.flatMap(({ specifier, offset }) => {
    const message = specifier.startsWith('.')
      ? refusal(source.path, join(dirname(source.path), specifier))
      : packageRefusal(source.path, specifier)
    return message ? [{ path: source.path, line: lineAt(source, offset), message }] : []
  })
}

function packageRefusal(from: string, specifier: string): string | undefined {
  const rule = packageRules.find(({ packages }) => packages.test(specifier))
  if (!rule || isIn(from, rule.owners) || layerOf(from)?.name === 'assembly') return undefined
  return `${specifier} is only for ${rule.owners.join(', ')}: ${rule.instead}`
}
