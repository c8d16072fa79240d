import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { bunOf, type Checkout } from './checkout.ts'

/** Something that is measured. */
export interface Peer {
  readonly name: string
  readonly title: string
  /** What it speaks on the socket: gen/src/dialects. */
  readonly dialect: 'native' | 'raw' | 'socketio'
  /** Groups of scenarios that it takes part in. */
  readonly groups: readonly string[]
  readonly command: readonly string[]
  /** The checkout whose server it is, where it is ours or another Rialto. */
  readonly checkout?: string
  /** Seconds until it is done with connections that have gone. */
  readonly settleSeconds?: number
  /** Needs Postgres and the seeded users. */
  readonly needsDatabase?: true
  /** Makes it runnable; returns why it cannot run, if so. */
  prepare?(): Promise<string | undefined>
}

const FOLDER = import.meta.dir
const PEERS_FOLDER = join(FOLDER, 'peers')
const BUN = process.execPath
const SOCKETS = ['storm', 'fan', 'dm', 'typing']

function rialto(name: string, title: string, checkout: string, bun: string): Peer {
  return {
    name,
    title,
    dialect: 'native',
    groups: [...SOCKETS, 'stored', 'recovery', 'http', 'start'],
    command: [bun, join(checkout, 'bench', 'server.ts')],
    checkout,
    // Somebody who is gone for less than five seconds was never away.
    settleSeconds: 6,
    needsDatabase: true,
  }
}

/** The server of another checkout, by its own Bun, packages and `bench/server.ts`. */
export function peerOf({ name, folder }: Checkout): Peer {
  return rialto(name, `Rialto (${name})`, folder, bunOf(folder))
}

/** Our server, the base of the ratios, and what else there is. */
export const PEERS: readonly Peer[] = [
  rialto('ours', 'Rialto (stores and numbers)', dirname(FOLDER), BUN),
  {
    name: 'bun-json',
    title: 'Bun sockets with JSON',
    dialect: 'native',
    groups: SOCKETS,
    command: [BUN, join(PEERS_FOLDER, 'bun-json.mjs')],
  },
  {
    name: 'bun-raw',
    title: 'Bun sockets without JSON',
    dialect: 'raw',
    groups: SOCKETS,
    command: [BUN, join(PEERS_FOLDER, 'bun-raw.mjs')],
  },
  {
    name: 'elysia',
    title: 'Elysia `.ws`',
    dialect: 'native',
    groups: SOCKETS,
    command: [BUN, join(PEERS_FOLDER, 'elysia.mjs')],
  },
  {
    name: 'socketio-bun',
    title: 'Socket.IO on Bun',
    dialect: 'socketio',
    groups: SOCKETS,
    command: [BUN, join(PEERS_FOLDER, 'socketio-bun.mjs')],
    prepare: installSocketIo,
  },
  {
    name: 'socketio-node',
    title: 'Socket.IO on Node',
    dialect: 'socketio',
    groups: SOCKETS,
    command: ['node', join(PEERS_FOLDER, 'socketio-node.mjs')],
    prepare: async () => missing('node') ?? installSocketIo(),
  },
  {
    name: 'gorilla',
    title: 'gorilla hub (Go)',
    dialect: 'native',
    groups: ['storm', 'fan', 'dm'],
    command: [join(PEERS_FOLDER, 'gorilla', 'gorilla')],
    prepare: async () =>
      missing('go') ?? build(join(PEERS_FOLDER, 'gorilla'), ['go', 'build', '-o', 'gorilla', '.']),
  },
  {
    name: 'axum',
    title: 'axum hub (Rust)',
    dialect: 'native',
    groups: ['storm', 'fan', 'dm'],
    command: [join(PEERS_FOLDER, 'axum', 'target', 'release', 'axum-hub')],
    prepare: async () =>
      missing('cargo') ?? build(join(PEERS_FOLDER, 'axum'), ['cargo', 'build', '--release']),
  },
  {
    name: 'bare-http',
    title: '`Bun.serve` routes that check nothing',
    dialect: 'raw',
    groups: ['http'],
    command: [BUN, join(PEERS_FOLDER, 'bare-http.mjs')],
    needsDatabase: true,
  },
]

/**
 * Builds the load generator, once.
 * @returns the path of its binary
 * @throws Error where there is no Rust toolchain, or with what the compiler says
 */
export async function buildGenerator(): Promise<string> {
  const folder = join(FOLDER, 'gen')
  const reason = missing('cargo') ?? (await build(folder, ['cargo', 'build', '--release']))
  if (reason !== undefined) {
    throw new Error(`The load generator cannot be built: ${reason}. It needs Rust 1.85 or later.`)
  }
  return join(folder, 'target', 'release', 'generator')
}

function missing(program: string): string | undefined {
  return Bun.which(program) === null ? `${program} is not installed` : undefined
}

async function installSocketIo(): Promise<string | undefined> {
  if (existsSync(join(PEERS_FOLDER, 'node_modules', 'socket.io'))) return undefined
  return build(PEERS_FOLDER, [BUN, 'install', '--frozen-lockfile'])
}

/** Runs a build tool; it decides by itself what is up to date. */
async function build(cwd: string, command: readonly string[]): Promise<string | undefined> {
  const child = Bun.spawn([...command], { cwd, stdout: 'ignore', stderr: 'pipe' })
  const errors = await new Response(child.stderr).text()
  if ((await child.exited) === 0) return undefined
  return `${command.join(' ')} failed: ${errors.trim().slice(-500)}`
}
