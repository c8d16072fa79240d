/** The shape of the configuration, and the error that says what is wrong with it. */

import type { LogLevel } from '../observe/log.ts'

/** The value of `FEATURES` that turns everything on. */
export const EVERY_FEATURE = 'all'

/**
 * Everything the environment decides, validated and deeply frozen.
 *
 * Properties marked *secret* are getters of the prototype: they do not appear in `JSON.stringify`,
 * `console.log` or a spread copy, and must be read by name.
 */
export interface Config {
  environment: 'development' | 'test' | 'production'
  production: boolean
  host: string
  port: number
  /** Without a trailing slash. */
  publicUrl: string
  /** Absolute. */
  dataDir: string
  /** Secret: `url`, absent exactly when `embedded` is true, and `serverUrl`. */
  database: {
    /** As the owner of the tables. */
    url?: string
    /** As the server's role. */
    serverUrl?: string
    /** The server works as the owner. */
    singleRole: boolean
    embedded: boolean
  }
  /** Secret. Absent: everything stays in this process. */
  redisUrl?: string
  /** Secret: `secrets`, of which the first signs and all verify. */
  jwt: {
    secrets: readonly string[]
    accessTtlMs: number
    refreshTtlMs: number
    refreshAbsoluteTtlMs: number
  }
  /** Secret. 32 bytes each; the first encrypts, all decrypt. */
  masterKeys: readonly Uint8Array[]
  /** Secret: `passwordHash`, Argon2id in PHC form. */
  admin?: { username: string; passwordHash: string }
  cors: { origins: readonly string[]; localhostAllowed: boolean }
  /** Addresses and networks (CIDR) whose `X-Forwarded-*` headers count. */
  trustedProxies: readonly string[]
  /** For unauthenticated REST, per address; signed-in calls have limits per operation. */
  rateLimits: { enabled: boolean; windowMs: number; maxRequests: number }
  features: readonly string[] | typeof EVERY_FEATURE
  /** Secret: `password`. */
  smtp?: {
    host: string
    port: number
    user?: string
    password?: string
    /** PEM; absent: the public authorities. */
    ca?: string
    from: string
  }
  /** Secret: `webhookSecrets`, any of which signs. */
  payments?: { webhookSecrets: readonly string[] }
  /** Whose bank account payouts are made from. The IBAN has no spaces. */
  payouts?: { name: string; iban: string; bic?: string }
  log: { level: LogLevel; dir?: string }
  /** Where checkpoints of the audit log are written. Absolute. */
  audit: { checkpointDirs: readonly string[] }
  /** Addresses and networks (CIDR) beside the public internet that webhooks may be sent to. */
  webhooks: { allowedNetworks: readonly string[] }
  /** Secret. Absent: `/metrics` answers to loopback only. */
  metricsToken?: string
  /** Secret: `key`. PEM. */
  tls?: { cert: string; key: string }
  /** What the operator should know, one sentence each; to be logged at start. */
  notices: readonly string[]
}

/** One thing that is wrong: the variable, what is wrong with it, and how it looks when right. */
export interface ConfigProblem {
  name: string
  reason: string
  example: string
}

/** The configuration cannot be used; the message lists every problem and never a secret. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly ConfigProblem[]

  constructor(problems: readonly ConfigProblem[]) {
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
    const lines = problems.map(
      ({ name, reason, example }) => `  ${name} ${reason}. Example: ${example}`,
    )
    super(`The configuration has ${count}:\n${lines.join('\n')}`)
    this.problems = problems
  }
}
