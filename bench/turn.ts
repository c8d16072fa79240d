import { join } from 'node:path'
import type { BenchDatabase } from './database.ts'
import { freePort, pinned } from './machine.ts'
import type { Peer } from './peers.ts'
import { accepts, healthy, launch, track } from './process.ts'
import { readResult, type Result } from './results.ts'

/** What all turns share. */
export interface Setting {
  readonly generator: string
  readonly folder: string
  /** File of the users. */
  readonly users: string
  readonly secret: string
  readonly seconds: number
  readonly database?: BenchDatabase
  /** What servers of other checkouts are told, by peer: each has a database and keys of its own. */
  readonly own?: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** What the bare routes are told. */
  readonly bareWork?: Readonly<Record<string, string>>
}

/** Paths of the two GET routes: signed-in, without and with a query. */
export const OUR_PATHS = { plain: '/api/v1/users/me/presence', query: '/api/v1/auth/me' }
const BARE_PATHS = { plain: '/plain', query: '/query' }

/** Pause after the start of a server, and after connections to it have gone. */
const SETTLE_SECONDS = 0.7

/** One peer's turn: starts it, lets the generator run the scenarios, stops it. */
export async function takeTurn(
  peer: Peer,
  scenarios: readonly string[],
  round: number,
  setting: Setting,
  onResult: (result: Result) => void,
): Promise<void> {
  const port = await freePort()
  const server = await launch({
    command: pinned(peer.command),
    cwd: setting.folder,
    env: { ...environment(port, setting), ...setting.bareWork, ...setting.own?.[peer.name] },
    log: join(setting.folder, `${peer.name}.log`),
    ready: () => (peer.checkout === undefined ? accepts(port) : healthy(port)),
  })
  try {
    await Bun.sleep(SETTLE_SECONDS * 1000)
    const paths = peer.checkout === undefined ? BARE_PATHS : OUR_PATHS
    const options = {
      peer: peer.name,
      dialect: peer.dialect,
      port,
      'server-pid': server.pid,
      users: setting.users,
      scenarios: scenarios.join(','),
      seconds: setting.seconds,
      round,
      settle: peer.settleSeconds ?? SETTLE_SECONDS,
      'plain-path': paths.plain,
      'query-path': paths.query,
      ...(setting.database ? { 'postgres-pid': setting.database.pid } : {}),
    }
    const words = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`])
    await generate([setting.generator, ...words], (line) => onResult(readResult(line, round)))
  } finally {
    await server.stop()
  }
}

/** What every server of the bench is told. Nothing of the caller's own settings gets through. */
export function environment(port: number, setting: Setting): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    HOME: process.env.HOME ?? '',
    HOST: '127.0.0.1',
    PORT: String(port),
    JWT_SECRET: setting.secret,
    USERS: setting.users,
    DATA_DIR: join(setting.folder, 'data'),
    JWT_ACCESS_EXPIRES: '1d',
    LOG_LEVEL: 'warn',
    ...(setting.database ? { DATABASE_URL: setting.database.url } : {}),
  }
}

async function generate(command: readonly string[], onLine: (line: string) => void): Promise<void> {
  const child = track(Bun.spawn([...command], { stdout: 'pipe', stderr: 'pipe' }))
  const errors = new Response(child.stderr).text()
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of child.stdout) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(line)
  }
  const said = (await errors).trim()
  if (said !== '') console.error(said)
  const code = await child.exited
  if (code !== 0) throw new Error(`the generator ended with ${code}`)
}
