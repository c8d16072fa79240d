import { COMMANDS } from '../../realtime/commands.ts'
import { pathParameters, PREFIXES } from '../../src/http/mount.ts'
import { createRegistry, type Feature } from '../../src/kernel/feature.ts'
import type { Operation, Route } from '../../src/kernel/operation.ts'
import { CallError, type Client } from '../support/client.ts'
import type { TestServer } from '../support/server.ts'
import type { Attacker, Attempt, Belongings } from './attempt.ts'
import { ATTEMPTS, CHANNEL_COMMANDS, CHANNELS, COMMAND_ATTEMPTS } from './attempts.ts'

/** What came of trying something: a code of refusal or `ok`, and everything that was answered. */
export interface Result {
  readonly code: string
  readonly text: string
}

/** Her things, those of somebody who does not exist, and who tries. */
export interface Scene {
  readonly server: TestServer
  readonly hers: Belongings
  readonly nobodys: Belongings
  readonly me: Attacker
  readonly token: string
  readonly client: Client
  /** Somebody who may be harmed. */
  readonly disposable: () => Promise<{ token: string; client: Client }>
}

/** Names of the registry that no table mentions, and names of the tables that are of nothing. */
export function uncovered(features: readonly Feature[]): string[] {
  const registry = createRegistry(features)
  const compare = (what: string, have: Iterable<string>, rows: object, more: object = {}) => {
    const names = new Set(have)
    const known = new Set([...Object.keys(rows), ...Object.keys(more)])
    return [
      ...[...names].filter((name) => !known.has(name)).map((name) => `${what} ${name}: no row`),
      ...[...known].filter((name) => !names.has(name)).map((name) => `${what} ${name}: is gone`),
    ]
  }
  return [
    ...compare('operation', registry.operations.keys(), ATTEMPTS),
    ...compare('channel', registry.channels.keys(), CHANNELS),
    ...compare('command', Object.keys(COMMANDS), CHANNEL_COMMANDS, COMMAND_ATTEMPTS),
  ]
}

/** Names of her private values that an answer holds, except those that the asker brought along. */
function leaked(text: string, input: object, hers: Belongings): string[] {
  // Her id and name are public; whatever else is hers is not.
  const { userId: _id, username: _name, ...secrets } = hers
  const answer = text.toLowerCase()
  const brought = JSON.stringify(input).toLowerCase()
  return Object.entries(secrets)
    .map(([name, value]) => [name, value.toLowerCase()] as const)
    .filter(([, value]) => answer.includes(value) && !brought.includes(value))
    .map(([name]) => name)
}

/** Asks by one route; undefined when the input lacks what the path needs. */
export async function byRest(
  server: TestServer,
  { method, path }: Route,
  prefix: string,
  input: Record<string, unknown>,
  token?: string,
): Promise<Result | undefined> {
  const rest = { ...input }
  let address = prefix + path
  for (const [, name] of pathParameters(path)) {
    if (typeof rest[name] !== 'string') return undefined
    address = address.replace(`:${name}`, encodeURIComponent(rest[name]))
    delete rest[name]
  }
  const asQuery = method === 'GET' || method === 'DELETE'
  if (asQuery) {
    const texts = Object.entries(rest).map(([name, value]) => [name, String(value)] as const)
    if (texts.length > 0) address += `?${new URLSearchParams(Object.fromEntries(texts)).toString()}`
  }
  const response = await fetch(server.url + address, {
    method,
    headers: {
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(asQuery ? {} : { 'Content-Type': 'application/json' }),
    },
    ...(asQuery ? {} : { body: JSON.stringify(rest) }),
  })
  const text = await response.text()
  const code = response.ok ? 'ok' : String((JSON.parse(text) as { code: unknown }).code)
  return { code, text: `${text}${JSON.stringify([...response.headers])}` }
}

/** Asks by a frame. */
export async function bySocket(client: Client, type: string, input: object): Promise<Result> {
  return await client.call(type, input).then(
    (frame) => ({ code: 'ok', text: JSON.stringify(frame) }),
    (error: unknown) => {
      if (!(error instanceof CallError)) throw error
      return { code: error.payload.code, text: JSON.stringify(error.payload) }
    },
  )
}

/** One way of asking: with its name for the findings. */
type Ask = (
  input: Record<string, unknown>,
  who: { token: string; client: Client },
) => Promise<Result | undefined>

function waysIn(server: TestServer, operation: Operation): [name: string, ask: Ask][] {
  const routes = operation.routes.flatMap((route) =>
    PREFIXES.map((prefix): [string, Ask] => [
      `${route.method} ${prefix}${route.path}`,
      (input, { token }) => byRest(server, route, prefix, input, token),
    ]),
  )
  if (!operation.socket) return routes
  return [...routes, ['socket', (input, { client }) => bySocket(client, operation.name, input)]]
}

/** Request ids differ between two answers that are otherwise the same. */
const comparable = ({ code, text }: Result) =>
  `${code} ${/"(?:detail|message)":"[^"]*"/.exec(text)?.[0]}`

/** What is wrong with one answer. */
function judge(attempt: Attempt, result: Result, input: object, hers: Belongings): string[] {
  const wanted = attempt.expect === 'own' ? 'ok' : attempt.expect
  const forbidden = attempt.without?.(hers) ?? []
  return [
    ...(result.code === wanted ? [] : [`${result.code} instead of ${wanted}`]),
    ...leaked(result.text, input, hers).map((name) => `shows her ${name}`),
    ...forbidden.filter((value) => result.text.includes(value)).map((v) => `acts on ${v}`),
  ]
}

async function attack(
  scene: Scene,
  name: string,
  attempts: readonly Attempt[],
  ways: readonly [string, Ask][],
): Promise<string[]> {
  const { hers, nobodys, me } = scene
  const findings: string[] = []
  for (const attempt of attempts) {
    let asked = 0
    for (const [way, ask] of ways) {
      const who = attempt.harmful === true ? await scene.disposable() : scene
      const input = attempt.input(hers, me)
      const result = await ask(input, who)
      if (result === undefined) continue
      asked++
      const found = judge(attempt, result, input, hers)
      if (attempt.expect !== 'own' && attempt.tellsApart === undefined) {
        // What one may not know of must look like what is not there.
        const ghost = await ask(attempt.input(nobodys, me), who)
        const same = ghost !== undefined && comparable(ghost) === comparable(result)
        if (!same) found.push(`tells what exists: ${ghost?.text} / ${result.text}`)
      }
      findings.push(...found.map((what) => `${name} by ${way}: ${what}`))
    }
    if (asked === 0) findings.push(`${name}: no way in was tried`)
  }
  return findings
}

/** Tries everything of an operation's row by every way in. */
export function attackOperation(
  scene: Scene,
  operation: Operation,
  attempts: readonly Attempt[],
): Promise<string[]> {
  return attack(scene, operation.name, attempts, waysIn(scene.server, operation))
}

/** Tries a command that names no channel. */
export function attackCommand(
  scene: Scene,
  command: string,
  attempts: readonly Attempt[],
): Promise<string[]> {
  const ask: Ask = (input, { client }) => bySocket(client, command, input)
  return attack(scene, command, attempts, [['socket', ask]])
}

/** Tries every command on her channels of a namespace. */
export async function attackChannel(
  scene: Scene,
  namespace: string,
  ids: (of: Belongings) => string[],
): Promise<string[]> {
  const findings: string[] = []
  for (const [command, variants] of Object.entries(CHANNEL_COMMANDS)) {
    // Leaving is no secret: it is answered for any name, and changes nothing.
    const expect = command === 'unsubscribe' ? 'own' : 'not_found'
    for (const n of ids(scene.hers).keys()) {
      const attempts = variants.map((more): Attempt => {
        return { input: (of) => ({ channel: `${namespace}:${ids(of)[n]}`, ...more }), expect }
      })
      findings.push(...(await attackCommand(scene, command, attempts)))
    }
  }
  return findings
}
