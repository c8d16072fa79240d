/**
 * Who may import whom. Data flows one way: edge → operation → feature → database; the core never
 * imports an edge, and a feature sees of another only what it exports.
 */

import { dirname, join } from 'node:path/posix'
import { isIn, lineAt } from './source.ts'
import type { Finding, Source } from './source.ts'

interface Layer {
  readonly name: string
  /** First match wins. */
  readonly paths: readonly string[]
  /** Names of the layers that it may import, besides itself. */
  readonly mayImport: readonly string[]
  readonly instead: string
}

/** What every layer above it may use. */
const ground = ['base', 'observe', 'money', 'vault', 'net']

const layers: readonly Layer[] = [
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
    name: 'kernel',
    paths: ['src/kernel/'],
    mayImport: [...ground, 'config', 'db'],
    instead: 'let the kernel define an interface and main.ts hand over what implements it',
  },
  {
    name: 'config',
    paths: ['src/config.ts', 'src/config/'],
    mayImport: ground,
    instead: 'keep configuration free of what it configures',
  },
  {
    name: 'assembly',
    paths: ['src/main.ts', 'src/server.ts', 'src/features.ts'],
    mayImport: [
      ...ground,
      'kernel',
      'config',
      'db',
      'http',
      'realtime',
      'jobs',
      'drivers',
      'feature',
    ],
    instead: 'move the code out of scripts, tests or benches',
  },
  {
    name: 'db',
    paths: ['db/'],
    mayImport: ground,
    instead: 'hand the value over as a parameter; the database layer knows the ground only',
  },
  {
    name: 'http',
    paths: ['src/http/'],
    mayImport: [...ground, 'kernel', 'config', 'db', 'feature'],
    instead: 'mount operations; what sockets do belongs to realtime/',
  },
  {
    name: 'realtime',
    paths: ['realtime/'],
    mayImport: [...ground, 'kernel', 'config', 'db', 'feature'],
    instead: 'mount operations; what REST does belongs to src/http/',
  },
  {
    name: 'jobs',
    paths: ['jobs/'],
    mayImport: [...ground, 'kernel', 'config', 'db', 'feature'],
    instead: 'let the job emit an event that the edge delivers',
  },
  {
    name: 'drivers',
    paths: ['src/drivers/'],
    mayImport: [...ground, 'kernel', 'config'],
    instead: 'let the port take what it needs as a parameter',
  },
  {
    name: 'feature',
    paths: ['src/'],
    mayImport: [...ground, 'kernel', 'config', 'db', 'drivers'],
    instead: 'emit an event, or let main.ts hand it over: the core never imports an edge',
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

const layerOf = (path: string) => layers.find(({ paths }) => isIn(path, paths))

/** The feature that a path belongs to: `src/messaging/store.ts` is of `messaging`. */
function featureOf(path: string): string | undefined {
  if (layerOf(path)?.name !== 'feature') return undefined
  return /^src\/([^/]+)\//.exec(path)?.[1]
}

/** Why `from` must not import `to` (both relative to the project); undefined when it may. */
export function refusal(from: string, to: string): string | undefined {
  const source = layerOf(from)
  const target = layerOf(to)
  if (!source) return undefined
  if (to === 'package.json') return undefined
  if (!target) return `${source.name} imports ${to}, outside the product: ${source.instead}`
  if (target.name !== source.name) {
    if (source.mayImport.includes(target.name)) return edgeSeesStore(to, target)
    return `${source.name} must not import ${target.name} (${to}): ${source.instead}`
  }
  return featureOf(from) === featureOf(to) ? undefined : edgeSeesStore(to, target)
}

/** A feature's tables are its own. */
function edgeSeesStore(to: string, target: Layer): string | undefined {
  if (target.name !== 'feature' || !/\/store(\.ts|\/)/.test(to)) return undefined
  return `${to} is private to its feature: call what the feature exports, or react to its events`
}

/** Imports that cross a boundary. */
export function boundaries(source: Source): Finding[] {
  if (!layerOf(source.path)) return []
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
