/** Puts the parsed settings into the shape that the rest of the server reads. */

import { join } from 'node:path'
import type { Values } from './table.ts'
import type { Config } from './types.ts'

const DAY_MS = 86_400_000

/** The secrets that the server makes itself when they are not given. */
export interface Keys {
  jwtSecrets: readonly string[]
  masterKeys: readonly Uint8Array[]
}

/**
 * Copies `object` without absent properties, frozen. The `secret` ones become getters of the
 * prototype: whatever serialises, prints, copies or compares the object does not see their values.
 * (Properties that are merely not enumerable are printed by the runtime's `console.log`.)
 */
function section<T extends object>(object: T, ...secret: (keyof T)[]): T {
  const hidden = {}
  const copy = Object.create(hidden) as T
  for (const key of Object.keys(object) as (keyof T)[]) {
    const value = object[key]
    if (value === undefined) continue
    if (!ArrayBuffer.isView(value)) Object.freeze(value)
    if (secret.includes(key)) Object.defineProperty(hidden, key, { get: () => value })
    else copy[key] = value
  }
  return Object.freeze(copy)
}

/** The parts that exist only when something was given for them. */
function optionalParts(values: Values): Partial<Config> {
  const v = values
  return {
    admin:
      v.ADMIN_USERNAME && v.ADMIN_PASSWORD_HASH
        ? section(
            { username: v.ADMIN_USERNAME, passwordHash: v.ADMIN_PASSWORD_HASH },
            'passwordHash',
          )
        : undefined,
    smtp: v.SMTP_HOST
      ? section(
          {
            host: v.SMTP_HOST,
            port: v.SMTP_PORT,
            user: v.SMTP_USER,
            password: v.SMTP_PASSWORD,
            ca: v.SMTP_TLS_CA,
            from: v.MAIL_FROM ?? v.SMTP_USER!,
          },
          'password',
        )
      : undefined,
    payments:
      v.PAYMENT_WEBHOOK_SECRET &&
      section({ webhookSecrets: v.PAYMENT_WEBHOOK_SECRET }, 'webhookSecrets'),
    payouts:
      v.PAYOUT_NAME && v.PAYOUT_IBAN
        ? section({
            name: v.PAYOUT_NAME,
            iban: v.PAYOUT_IBAN,
            bic: v.PAYOUT_BIC,
          })
        : undefined,
    tls: v.TLS_CERT && v.TLS_KEY ? section({ cert: v.TLS_CERT, key: v.TLS_KEY }, 'key') : undefined,
  }
}

/** The whole configuration, frozen. `values` have passed every rule. */
export function assemble(values: Values, keys: Keys, notices: readonly string[]): Config {
  const v = values
  const scheme = v.TLS_CERT ? 'https' : 'http'
  const publicUrl = v.PUBLIC_URL ?? `${scheme}://localhost:${v.PORT}`
  const production = v.NODE_ENV === 'production'
  const config: Config = {
    environment: v.NODE_ENV,
    production,
    host: v.HOST,
    port: v.PORT,
    publicUrl,
    dataDir: v.DATA_DIR,
    database: section(
      {
        url: v.DATABASE_URL,
        serverUrl: v.DATABASE_SERVER_URL,
        singleRole: v.DATABASE_SINGLE_ROLE,
        embedded: v.DATABASE_URL === undefined,
      },
      'url',
      'serverUrl',
    ),
    redisUrl: v.REDIS_URL,
    jwt: section(
      {
        secrets: keys.jwtSecrets,
        accessTtlMs: v.JWT_ACCESS_EXPIRES,
        refreshTtlMs: v.JWT_REFRESH_EXPIRES,
        refreshAbsoluteTtlMs: 30 * DAY_MS,
      },
      'secrets',
    ),
    masterKeys: keys.masterKeys,
    cors: {
      origins: [...new Set([new URL(publicUrl).origin, ...(v.CORS_ORIGINS ?? [])])],
      localhostAllowed: !production && v.CORS_ORIGINS === undefined,
    },
    trustedProxies: v.TRUSTED_PROXIES ?? [],
    rateLimits: {
      enabled: v.RATE_LIMITS,
      windowMs: v.RATE_LIMIT_WINDOW_MS,
      maxRequests: v.RATE_LIMIT_MAX_REQUESTS,
    },
    features: v.FEATURES,
    log: section({ level: v.LOG_LEVEL, dir: v.LOG_DIR }),
    audit: section({
      checkpointDirs: [join(v.DATA_DIR, 'audit'), v.AUDIT_CHECKPOINT_DIR].filter(
        (folder) => folder !== undefined,
      ),
    }),
    webhooks: section({ allowedNetworks: v.WEBHOOK_ALLOWED_NETWORKS ?? [] }),
    metricsToken: v.METRICS_TOKEN,
    notices,
    ...optionalParts(v),
  }
  return section(config, 'redisUrl', 'masterKeys', 'metricsToken')
}
