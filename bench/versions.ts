import { join } from 'node:path'
import { packageVersion, versionOf } from './machine.ts'

const ROOT = join(import.meta.dir, '..', 'node_modules')
const PEERS = join(import.meta.dir, 'peers')

/** Versions of what was measured. */
export async function readVersions(): Promise<Record<string, string>> {
  const axum = await Bun.file(join(PEERS, 'axum', 'Cargo.toml')).text()
  const gorilla = await Bun.file(join(PEERS, 'gorilla', 'go.mod')).text()
  return {
    Bun: Bun.version,
    Elysia: packageVersion(join(ROOT, 'elysia')),
    'Socket.IO': packageVersion(join(PEERS, 'node_modules', 'socket.io')),
    Node: versionOf('node', '--version'),
    Go: versionOf('go', 'env', 'GOVERSION'),
    gorilla: /websocket v(\S+)/.exec(gorilla)?.[1] ?? 'unknown',
    Rust: versionOf('rustc', '--version').split(' ')[1] ?? 'absent',
    axum: /^axum = .*?"=([^"]+)"/m.exec(axum)?.[1] ?? 'unknown',
  }
}
