/**
 * Where settings come from: the process environment, before the `.env` file; `NAME_FILE` for
 * secrets; other names of older systems.
 */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseEnvFile } from './env-file.ts'
import { rows, UNNEEDED } from './table.ts'
import type { Name, Variable } from './table.ts'
import type { ConfigProblem } from './types.ts'

/** What was given for a setting, and by which name. */
export interface Given {
  name: string
  text: string
}

/** Everything that was given, with what is wrong or worth saying about it so far. */
export interface Source {
  get(name: string): string | undefined
  names: string[]
  problems: ConfigProblem[]
  notices: string[]
}

/** Names whose value may come from a file instead: secrets, by each of their names. */
const secretNames = new Set<string>(
  rows
    .filter(([, row]) => row.secret)
    .flatMap(([name, row]) => [name, ...(row.aliases ?? []), ...(row.composedOf ?? [])])
    // Of the parts that an address is put together from, only the password is secret.
    .filter((name) => !/_(?:HOST|PORT|DB|NAME|USER|USERNAME)$/.test(name)),
)

/** Every name that means something here. */
export const knownNames: ReadonlySet<string> = new Set([
  ...rows.flatMap(([name, row]) => [name, ...(row.aliases ?? []), ...(row.composedOf ?? [])]),
  ...[...secretNames].map((name) => `${name}_FILE`),
  ...Object.keys(UNNEEDED),
])

/** Binary contents (a key as bytes) continue as base64, text without its line end. */
function readSecretFile(path: string): string {
  const bytes = readFileSync(path)
  return bytes.includes(0) ? bytes.toString('base64') : bytes.toString('utf8').trim()
}

const errorCode = (error: unknown) => (error as NodeJS.ErrnoException).code ?? 'unreadable'

function readEnvFile(
  path: string,
  required: boolean,
  problems: ConfigProblem[],
): Record<string, string> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (required || errorCode(error) !== 'ENOENT') {
      const reason = `cannot be read (${errorCode(error)})`
      problems.push({ name: path, reason, example: 'a file with lines NAME=value' })
    }
    return {}
  }
  const file = parseEnvFile(text)
  for (const { line, reason } of file.problems) {
    problems.push({ name: `${path}:${line}`, reason, example: 'NAME=value' })
  }
  return file.values
}

/** Opens the environment and the `.env` file (`envFile`, else `.env` in `cwd` if it exists). */
export function openSource(
  env: Record<string, string | undefined>,
  cwd: string,
  envFile: string | undefined,
): Source {
  const problems: ConfigProblem[] = []
  const fromFile = readEnvFile(resolve(cwd, envFile ?? '.env'), envFile !== undefined, problems)
  // An empty value is no value: compose files pass them for everything that is not set.
  const direct = (name: string) => env[name]?.trim() || fromFile[name] || undefined

  const get = (name: string): string | undefined => {
    const text = direct(name)
    const path = secretNames.has(name) ? direct(`${name}_FILE`) : undefined
    if (path === undefined) return text
    const example = `${name}_FILE=/run/secrets/${name.toLowerCase()}`
    if (text !== undefined) {
      problems.push({ name, reason: `and ${name}_FILE are both given: keep one`, example })
      return text
    }
    try {
      const content = readSecretFile(resolve(cwd, path))
      if (content !== '') return content
      problems.push({ name: `${name}_FILE`, reason: 'names an empty file', example })
    } catch (error) {
      const reason = `names a file that cannot be read (${errorCode(error)})`
      problems.push({ name: `${name}_FILE`, reason, example })
    }
    return undefined
  }

  const names = [...new Set([...Object.keys(env), ...Object.keys(fromFile)])]
  return { get, names: names.filter((name) => direct(name) !== undefined), problems, notices: [] }
}

/** A value put together from parts, or the part that is missing for it. */
type Composed = Given | { name: string; missing: string }

/** The parts that were given. Kubernetes sets `REDIS_PORT=tcp://…` for its services: not ours. */
function partsOf(source: Source, names: string[]): (string | undefined)[] {
  return names.map((name) => {
    const value = source.get(name)
    return value?.startsWith('tcp://') ? undefined : value
  })
}

const bracketed = (host: string) => (host.includes(':') ? `[${host}]` : host)

function postgresFrom(source: Source, prefix: string, names: string[]): Composed | undefined {
  const full = names.map((name) => `${prefix}_${name}`)
  const [host, port, database, user, password] = partsOf(source, full)
  if (!host && !port && !database && !user && !password) return undefined
  const name = `${prefix}_${names.join('/')}`
  if (!host || !database) return { name, missing: full[host ? 2 : 0]! }
  const account = encodeURIComponent(user ?? 'postgres')
  const secret = password === undefined ? '' : `:${encodeURIComponent(password)}`
  const server = `${bracketed(host)}:${port ?? 5432}`
  return { name, text: `postgres://${account}${secret}@${server}/${encodeURIComponent(database)}` }
}

function redisFrom(source: Source): Composed | undefined {
  const [host, port, password] = partsOf(source, ['REDIS_HOST', 'REDIS_PORT', 'REDIS_PASSWORD'])
  if (!host && !port && !password) return undefined
  const name = 'REDIS_HOST/PORT/PASSWORD'
  if (!host) return { name, missing: 'REDIS_HOST' }
  const secret = password === undefined ? '' : `:${encodeURIComponent(password)}@`
  return { name, text: `redis://${secret}${bracketed(host)}:${port ?? 6379}` }
}

/** `host:port`, `:port` or `[::1]:port`; what cannot be split is left for the type to refuse. */
function addressPart(source: Source, part: 'host' | 'port'): Composed | undefined {
  const address = source.get('SERVER_ADDRESS')
  if (address === undefined) return undefined
  const match = /^(?:\[([^\]]+)\]|([^:\s]*)):(\d+)$/.exec(address)
  if (!match) return { name: 'SERVER_ADDRESS', missing: 'host:port' }
  const host = match[1] ?? (match[2] || '0.0.0.0')
  return { name: 'SERVER_ADDRESS', text: part === 'host' ? host : match[3]! }
}

const composers: Partial<Record<Name, (source: Source) => (Composed | undefined)[]>> = {
  HOST: (source) => [addressPart(source, 'host')],
  PORT: (source) => [addressPart(source, 'port')],
  DATABASE_URL: (source) => [
    postgresFrom(source, 'POSTGRES', ['HOST', 'PORT', 'DB', 'USER', 'PASSWORD']),
    postgresFrom(source, 'DB', ['HOST', 'PORT', 'NAME', 'USERNAME', 'PASSWORD']),
  ],
  REDIS_URL: (source) => [redisFrom(source)],
}

/** The text for one setting: its own name wins, then whatever its other names agree on. */
export function resolveSetting(source: Source, name: Name, row: Variable): Given | undefined {
  const example = `${name}=${row.example}`
  const own = source.get(name)
  const others: Composed[] = (row.aliases ?? []).flatMap((alias) => {
    const text = source.get(alias)
    return text === undefined ? [] : [{ name: alias, text }]
  })
  others.push(...(composers[name]?.(source) ?? []).filter((other) => other !== undefined))

  if (own !== undefined) {
    for (const other of others) {
      if ('text' in other && other.text !== own) {
        source.notices.push(`${other.name} is ignored: ${name} is given too and wins`)
      }
    }
    return { name, text: own }
  }
  for (const other of others) {
    if ('missing' in other) {
      source.problems.push({ name: other.name, reason: `lacks ${other.missing}`, example })
    }
  }
  const given = others.filter((other) => 'text' in other)
  if (given.some((other) => other.text !== given[0]!.text)) {
    const names = given.map((other) => other.name).join(' and ')
    source.problems.push({ name: names, reason: `disagree: give ${name} instead`, example })
  }
  return given[0]
}
