/**
 * The environment, as one typed, validated, frozen object. This file is the only one that reads
 * `process.env`; the settings themselves are rows of `config/table.ts`.
 */

import { assemble } from './config/assemble.ts'
import type { Keys } from './config/assemble.ts'
import { obtainKey } from './config/keys.ts'
import { noticesFor } from './config/notices.ts'
import { checkRules } from './config/rules.ts'
import { openSource, resolveSetting } from './config/source.ts'
import type { Source } from './config/source.ts'
import { rows } from './config/table.ts'
import type { Name, Values, Variable } from './config/table.ts'
import { ConfigError } from './config/types.ts'
import type { Config, ConfigProblem } from './config/types.ts'
import { InvalidValue } from './config/values.ts'

export { ConfigError } from './config/types.ts'
export type { Config, ConfigProblem } from './config/types.ts'

/** Where to look, and what there is. */
export interface LoadOptions {
  /** Default: the environment of this process. */
  env?: Record<string, string | undefined>
  /** What relative paths are relative to. Default: the working directory. */
  cwd?: string
  /** Default: `.env` in `cwd`, which need not exist; a file named here must. */
  envFile?: string
  /** The features this server has, against which `FEATURES` is checked. */
  features?: readonly string[]
}

/** A value as it may be repeated in an error: never a secret, never an address with a password. */
function shown(text: string, row: Variable): string {
  if (row.secret || /[@?]/.test(text)) return ''
  return `("${text.length > 60 ? `${text.slice(0, 60)}…` : text}") `
}

/** Parses every setting; what fails is a problem of the source. */
function parseSettings(source: Source, cwd: string) {
  const values: Record<string, unknown> = {}
  const given = new Set<Name>()
  for (const [name, row] of rows) {
    const setting = resolveSetting(source, name, row)
    if (setting) given.add(name)
    const text = setting?.text ?? row.default
    if (text === undefined) continue
    try {
      values[name] = row.type.parse(text, cwd)
    } catch (error) {
      if (!(error instanceof InvalidValue)) throw error
      const reason = `${shown(text, row)}${error.message}`
      source.problems.push({ name: setting!.name, reason, example: `${name}=${row.example}` })
    }
  }
  return { values: values as Partial<Values>, given }
}

/** Each rule's and each value's problem once, though two settings may share it. */
function unique(problems: ConfigProblem[]): ConfigProblem[] {
  const seen = new Set<string>()
  return problems.filter(({ name, reason }) => {
    const key = `${name} ${reason}`
    return !seen.has(key) && seen.add(key)
  })
}

/** `production` by either name must not be undone by the other. */
function checkEnvironmentNames(source: Source): void {
  const names = [source.get('NODE_ENV'), source.get('ENVIRONMENT')]
  if (names.every((name) => name !== undefined) && names[0] !== names[1]) {
    if (!names.includes('production')) return
    const reason = 'and ENVIRONMENT disagree on production: give one'
    source.problems.push({ name: 'NODE_ENV', reason, example: 'NODE_ENV=production' })
  }
}

/** Given keys, or those in the data folder, made now if this is the first start. */
function keysFor(values: Values): Keys {
  try {
    return {
      jwtSecrets: values.JWT_SECRET ?? [obtainKey(values.DATA_DIR, 'jwt-secret')],
      masterKeys: values.MASTER_ENCRYPTION_KEY ?? [
        new Uint8Array(Buffer.from(obtainKey(values.DATA_DIR, 'master-key'), 'base64url')),
      ],
    }
  } catch (error) {
    const { message } = error as Error
    const reason = `("${values.DATA_DIR}") cannot keep the server's keys: ${message}`
    throw new ConfigError([{ name: 'DATA_DIR', reason, example: 'DATA_DIR=/var/lib/rialto' }])
  }
}

/**
 * Reads and checks the configuration.
 *
 * Outside production, secrets that are not given are made once and kept in `DATA_DIR`/keys.
 *
 * @throws ConfigError with everything that is wrong, at once.
 */
export function loadConfig(options: LoadOptions = {}): Config {
  const { env = process.env, cwd = process.cwd(), envFile, features } = options
  const source = openSource(env, cwd, envFile)
  const { values, given } = parseSettings(source, cwd)
  checkEnvironmentNames(source)
  const problems = unique([...source.problems, ...checkRules({ values, given, features })])
  if (problems.length > 0) throw new ConfigError(problems)

  // Every rule has passed, so every setting with a default has a value.
  const complete = values as Values
  const notices = [...source.notices, ...noticesFor(source.names)]
  return assemble(complete, keysFor(complete), notices)
}
