/** Puts the parsed settings into the shape that the rest of the server reads. */

import { join } from 'node:path'
import type { Values } from './table.ts'
import type { Config, EvmChain } from './types.ts'

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

function evmChain(values: Values): EvmChain | undefined {
  const { RPC_URL: rpcUrls, CHAIN_ID: chainId, PRIVATE_KEY: key } = values
  if (!rpcUrls || !chainId) return undefined
  const { KEYSTORE_PATH: path, KEYSTORE_PASSWORD: password } = values
  const chain: EvmChain = {
    rpcUrls,
    chainId,
    privateKey: key && (key.startsWith('0x') ? key : `0x${key}`),
    keystore: path && password ? section({ path, password }, 'password') : undefined,
    signerUrl: values.SIGNER_URL,
  }
  return section(chain, 'rpcUrls', 'privateKey')
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
    turn: v.TURN_URLS && section({ urls: v.TURN_URLS, secret: v.TURN_SECRET }, 'secret'),
    trading:
      v.TRADING_MODULE_URL && v.TRADING_API_KEY
        ? section({ moduleUrl: v.TRADING_MODULE_URL, apiKey: v.TRADING_API_KEY }, 'apiKey')
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
    lnd:
      v.LND_SOCKET && v.LND_CERT && v.LND_MACAROON
        ? section(
            {
              socket: `${v.LND_SOCKET.host}:${v.LND_SOCKET.port}`,
              cert: v.LND_CERT,
              macaroon: v.LND_MACAROON,
            },
            'macaroon',
          )
        : undefined,
    linkedin:
      v.LINKEDIN_CLIENT_ID && v.LINKEDIN_CLIENT_SECRET
        ? section(
            { clientId: v.LINKEDIN_CLIENT_ID, clientSecret: v.LINKEDIN_CLIENT_SECRET },
            'clientSecret',
          )
        : undefined,
    dazeno: dazeno(v),
    s3: s3(v),
    tls: v.TLS_CERT && v.TLS_KEY ? section({ cert: v.TLS_CERT, key: v.TLS_KEY }, 'key') : undefined,
  }
}

function dazeno(v: Values): Config['dazeno'] {
  const usersApi = v.DAZENO_USERS_API
  const lightningApi = v.DAZENO_LIGHTNING_API
  const webhookSecret = v.DAZENO_WEBHOOK_SECRET
  if (!usersApi && !lightningApi && !webhookSecret) return undefined
  return section({ usersApi, lightningApi, webhookSecret }, 'webhookSecret')
}

function s3(v: Values): Config['s3'] {
  if (!v.S3_BUCKET || !v.S3_ACCESS_KEY_ID || !v.S3_SECRET_ACCESS_KEY) return undefined
  return section(
    {
      endpoint: v.S3_ENDPOINT,
      region: v.S3_REGION,
      bucket: v.S3_BUCKET,
      accessKeyId: v.S3_ACCESS_KEY_ID,
      secretAccessKey: v.S3_SECRET_ACCESS_KEY,
    },
    'secretAccessKey',
  )
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
    database: section({ url: v.DATABASE_URL, embedded: v.DATABASE_URL === undefined }, 'url'),
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
    messagingRelay: v.MESSAGING_RELAY,
    features: v.FEATURES,
    rgb: section({
      network: v.BITCOIN_NETWORK,
      esploraUrl: v.ESPLORA_URL,
      dataDir: v.RGB_DATA_DIR ?? join(v.DATA_DIR, 'rgb'),
    }),
    evm: section({
      chain: evmChain(v),
      contracts: section({
        tk: v.TK_CONTRACT_ADDRESS,
        tki: v.TKI_CONTRACT_ADDRESS,
        revenueController: v.REVENUE_CONTROLLER_ADDRESS,
        validator: v.VALIDATOR_ADDRESS,
      }),
    }),
    t4gIssuer: v.T4G_ISSUER,
    realtime: section({ configPath: v.REALTIME_CONFIG, insecure: v.REALTIME_INSECURE }),
    log: section({ level: v.LOG_LEVEL, dir: v.LOG_DIR }),
    audit: section({
      checkpointDirs: [join(v.DATA_DIR, 'audit'), v.AUDIT_CHECKPOINT_DIR].filter(
        (folder) => folder !== undefined,
      ),
    }),
    webhooks: section({ allowedNetworks: v.WEBHOOK_ALLOWED_NETWORKS ?? [] }),
    sentryDsn: v.SENTRY_DSN,
    otelEndpoint: v.OTEL_EXPORTER_OTLP_ENDPOINT,
    metricsToken: v.METRICS_TOKEN,
    notices,
    ...optionalParts(v),
  }
  return section(config, 'redisUrl', 'masterKeys', 'sentryDsn', 'metricsToken')
}
