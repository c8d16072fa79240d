/** The settings of the server itself: addresses, storage, secrets, limits, observation. */

import {
  argon2id,
  duration,
  features,
  flag,
  integer,
  key32,
  list,
  logLevel,
  matching,
  network,
  oneOf,
  origin,
  path,
  pem,
  postgresUrl,
  secretText,
  text,
  url,
} from '../values.ts'
import type { Variable } from './variable.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

export const coreTable = {
  NODE_ENV: {
    group: 'Server',
    aliases: ['ENVIRONMENT'],
    type: oneOf('development', 'test', 'production'),
    default: 'development',
    description: 'Production by either name: no development driver, secrets required, HTTPS only.',
    example: 'production',
  },
  HOST: {
    group: 'Server',
    composedOf: ['SERVER_ADDRESS'],
    type: text(),
    default: '0.0.0.0',
    description: 'Address to listen on. `SERVER_ADDRESS=host:port` sets this and `PORT`.',
    example: '127.0.0.1',
  },
  PORT: {
    group: 'Server',
    composedOf: ['SERVER_ADDRESS'],
    type: integer(0, 65_535),
    default: '8080',
    description: 'Port of everything: REST, sockets, documentation; 0 takes a free one.',
    example: '8080',
  },
  PUBLIC_URL: {
    group: 'Server',
    type: url('http', 'https'),
    absent: '`http://localhost:PORT`',
    description:
      'Address at which users reach the server: links in mail, and the page that may call it.',
    production: 'Required, `https://`.',
    example: 'https://api.example.org',
  },
  DATA_DIR: {
    group: 'Server',
    type: path,
    default: '.rialto',
    description:
      'Folder of the embedded database, the keys made at first start, payout orders, and ' +
      'checkpoints of the audit log.',
    example: '/var/lib/rialto',
  },
  TLS_CERT: {
    group: 'Server',
    type: pem('CERTIFICATE'),
    absent: 'plain HTTP',
    description: 'Certificate chain, when the server itself speaks HTTPS.',
    production: 'Required with `TLS_KEY`, unless `TRUSTED_PROXIES` names the proxy that does it.',
    example: '/etc/rialto/tls.crt',
  },
  TLS_KEY: {
    group: 'Server',
    type: pem('PRIVATE KEY'),
    secret: true,
    absent: 'plain HTTP',
    description: 'Private key of `TLS_CERT`.',
    example: '/etc/rialto/tls.key',
  },
  TRUSTED_PROXIES: {
    group: 'Server',
    type: list(network),
    absent: 'none',
    description: 'Whose `X-Forwarded-*` headers count, so that limits see the real client.',
    production: 'Required, unless `TLS_CERT` is given.',
    example: '127.0.0.1,10.0.0.0/8',
  },
  CORS_ORIGINS: {
    group: 'Server',
    type: list(origin),
    absent: "the server's own page; in development `http://localhost:*` too",
    description: 'Further web pages that may call REST and open sockets.',
    example: 'https://app.example.org',
  },
  FEATURES: {
    group: 'Server',
    type: features,
    default: 'all',
    description:
      'Features that are on. One that is off needs none of its drivers; its tables stay, and ' +
      'what they hold of a person is still exported and forgotten. `funding` and `payouts` need ' +
      '`ledger`.',
    example: 'messaging,mail',
  },
  DATABASE_URL: {
    group: 'Storage',
    secret: true,
    composedOf: [
      'POSTGRES_HOST',
      'POSTGRES_PORT',
      'POSTGRES_DB',
      'POSTGRES_USER',
      'POSTGRES_PASSWORD',
      'DB_HOST',
      'DB_PORT',
      'DB_NAME',
      'DB_USERNAME',
      'DB_PASSWORD',
    ],
    type: postgresUrl,
    absent: 'embedded PostgreSQL in `DATA_DIR`',
    description:
      'The PostgreSQL database, as the owner of its tables, who migrates. The server works as a ' +
      'lesser role, which the owner makes if it is missing and may make roles.',
    production: 'Required, unless `DATABASE_EMBEDDED=true`.',
    example: 'postgres://rialto:password@db.example.org:5432/rialto',
  },
  DATABASE_SERVER_URL: {
    group: 'Storage',
    secret: true,
    type: postgresUrl,
    absent: 'the role named as the database and `_server`, its password made from the owner’s',
    description:
      'The same database as the role that the server works as. It is there and used as it is: ' +
      'the owner gives it its rights at each start, and needs to make no roles.',
    example: 'postgres://rialto_server:password@db.example.org:5432/rialto',
  },
  DATABASE_SINGLE_ROLE: {
    group: 'Storage',
    type: flag,
    default: 'false',
    description:
      'The server works as the owner of the tables, for databases that give one role only: a ' +
      'hostile statement in it can then do everything. Said at each start.',
    production: '`true` is refused.',
    example: 'true',
  },
  DATABASE_EMBEDDED: {
    group: 'Storage',
    type: flag,
    absent: 'true when `DATABASE_URL` is absent',
    description: 'Runs PostgreSQL (durable) as a child of the server.',
    production: 'Must be chosen: `true`.',
    example: 'true',
  },
  REDIS_URL: {
    group: 'Storage',
    secret: true,
    composedOf: ['REDIS_HOST', 'REDIS_PORT', 'REDIS_PASSWORD'],
    type: url('redis', 'rediss'),
    absent: 'everything in this process',
    description: 'Carries events and presence between several processes.',
    example: 'redis://:password@redis.example.org:6379',
  },
  JWT_SECRET: {
    group: 'Identity',
    secret: true,
    aliases: ['JWT_ACCESS_SECRET'],
    type: list(secretText(32)),
    absent: 'made in `DATA_DIR` at first start',
    description: 'Signs access tokens. Several, separated by commas: the first signs, all verify.',
    production: 'Required.',
    example: '<output of: openssl rand -base64 48>',
  },
  JWT_ACCESS_EXPIRES: {
    group: 'Identity',
    aliases: ['JWT_EXPIRATION', 'JWT_EXPIRES_IN'],
    type: duration(MINUTE_MS, 30 * DAY_MS),
    default: '15m',
    description:
      'Life of an access token; a plain number is seconds. Longer ones suit clients that cannot ' +
      'refresh; revoking the session ends them all the same.',
    example: '15m',
  },
  JWT_REFRESH_EXPIRES: {
    group: 'Identity',
    type: duration(MINUTE_MS, 30 * DAY_MS),
    default: '7d',
    description: 'Life of a refresh token, renewed by each use, 30 days altogether.',
    example: '7d',
  },
  MASTER_ENCRYPTION_KEY: {
    group: 'Identity',
    secret: true,
    type: list(key32),
    absent: 'made in `DATA_DIR` at first start',
    description: 'Encrypts secrets at rest. Several: the first encrypts, all decrypt.',
    production: 'Required.',
    example: '<output of: openssl rand -base64 32>',
  },
  ADMIN_USERNAME: {
    group: 'Identity',
    type: matching(
      'user name',
      /^[A-Za-z0-9._-]{3,50}$/,
      '3 to 50 letters, digits, dots, underscores and hyphens',
    ),
    absent: 'no administrator from the environment',
    description: 'Name of the first administrator, who invites the others.',
    example: 'admin',
  },
  ADMIN_PASSWORD_HASH: {
    group: 'Identity',
    secret: true,
    type: argon2id,
    absent: 'no administrator from the environment',
    description: "The administrator's password as Argon2id hash, m=19456,t=2,p=1 or stronger.",
    example: '$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA',
  },
  RATE_LIMITS: {
    group: 'Limits',
    type: flag,
    default: 'on',
    description: '`off` is for tests.',
    production: '`off` is refused.',
    example: 'off',
  },
  RATE_LIMIT_WINDOW_MS: {
    group: 'Limits',
    type: integer(1_000, DAY_MS),
    default: '900000',
    description: 'Window of the limit on REST calls without sign-in.',
    example: '900000',
  },
  RATE_LIMIT_MAX_REQUESTS: {
    group: 'Limits',
    type: integer(1, 1_000_000),
    default: '100',
    description: 'REST calls without sign-in that an address has in one window.',
    example: '100',
  },
  WEBHOOK_ALLOWED_NETWORKS: {
    group: 'Limits',
    type: list(network),
    absent: 'the public internet alone',
    description:
      'Networks that webhooks may be sent to beside the public internet, for receivers of your ' +
      'own; outside production over plain HTTP too.',
    production: 'Plain HTTP is refused.',
    example: '10.20.0.0/16',
  },
  LOG_LEVEL: {
    group: 'Observation',
    aliases: ['RUST_LOG'],
    type: logLevel,
    default: 'info',
    description: 'Least severe level that is logged.',
    example: 'debug',
  },
  LOG_DIR: {
    group: 'Observation',
    type: path,
    absent: 'standard output only',
    description: 'Folder for `combined.log` and `error.log`, beside standard output.',
    example: '/var/log/rialto',
  },
  AUDIT_CHECKPOINT_DIR: {
    group: 'Observation',
    type: path,
    absent: '`DATA_DIR`/audit only',
    description: 'A second folder for the checkpoints of the audit log, on other storage.',
    example: '/mnt/audit',
  },
  METRICS_TOKEN: {
    group: 'Observation',
    secret: true,
    type: secretText(16),
    absent: '`/metrics` answers to loopback only',
    description: 'Bearer token for `/metrics`.',
    example: '<output of: openssl rand -hex 24>',
  },
} as const satisfies Record<string, Variable>
