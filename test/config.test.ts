import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'bun:test'
import { type Config, ConfigError, loadConfig } from '../src/config.ts'
import { knownNames } from '../src/config/source.ts'
import { rows, UNREAD_YET } from '../src/config/table.ts'
import { configFolder, type Env, HASH, SECRET } from './config/folder.ts'

const folder = configFolder()
const { load, problemsOf } = folder

describe('defaults', () => {
  test('are those of a fresh machine', () => {
    const config = load()
    expect(config).toEqual({
      environment: 'development',
      production: false,
      host: '0.0.0.0',
      port: 8080,
      publicUrl: 'http://localhost:8080',
      dataDir: join(folder.cwd, '.rialto'),
      database: { embedded: true, singleRole: false },
      jwt: {
        accessTtlMs: 900_000,
        refreshTtlMs: 604_800_000,
        refreshAbsoluteTtlMs: 2_592_000_000,
      } as Config['jwt'],
      cors: { origins: ['http://localhost:8080'], localhostAllowed: true },
      trustedProxies: [],
      webhooks: { allowedNetworks: [] },
      rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 100 },
      features: 'all',
      log: { level: 'info' },
      audit: { checkpointDirs: [join(folder.cwd, '.rialto', 'audit')] },
      notices: [],
    } as unknown as Config)
    expect([config.redisUrl, config.admin, config.tls, config.database.url]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ])
  })

  test('every example and default of the table is accepted by its own type', () => {
    for (const [name, row] of rows) {
      if (row.default !== undefined)
        expect(() => row.type.parse(row.default!, folder.cwd)).not.toThrow()
      const placeholder = row.example.includes('<') || row.type.label.includes('PEM file')
      if (!placeholder || name === 'MAIL_FROM') {
        expect(() => row.type.parse(row.example, folder.cwd), name).not.toThrow()
      }
    }
  })
})

describe('sources', () => {
  test('the environment wins over .env; empty values are none', () => {
    writeFileSync(join(folder.cwd, '.env'), 'PORT=1111\nHOST=127.0.0.1\nLOG_LEVEL=debug\n')
    const config = load({ PORT: '2222', HOST: '', LOG_LEVEL: undefined })
    expect([config.port, config.host, config.log.level]).toEqual([2222, '127.0.0.1', 'debug'])
  })

  test('a bad line of .env and a named file that is missing are problems', () => {
    writeFileSync(join(folder.cwd, '.env'), 'PORT=1111\nnonsense\n')
    expect(problemsOf({})).toEqual([`${join(folder.cwd, '.env')}:2 is not NAME=value`])
    expect(() => loadConfig({ env: {}, cwd: folder.cwd, envFile: 'prod.env' })).toThrow(
      /prod\.env.*ENOENT/,
    )
  })

  test('a secret can come from a file, under each of its names', () => {
    writeFileSync(join(folder.cwd, 'jwt'), `${SECRET}\n`)
    writeFileSync(join(folder.cwd, 'pg'), 'p@ss word\n')
    const config = load({
      JWT_ACCESS_SECRET_FILE: 'jwt',
      POSTGRES_HOST: 'db',
      POSTGRES_DB: 'pool',
      POSTGRES_PASSWORD_FILE: join(folder.cwd, 'pg'),
    })
    expect(config.jwt.secrets).toEqual([SECRET])
    expect(config.database.url).toBe('postgres://postgres:p%40ss%20word@db:5432/pool')
  })

  test('a binary file of a key arrives as its bytes', () => {
    const key = Buffer.alloc(32, 200).fill(0, 7, 9)
    writeFileSync(join(folder.cwd, 'key'), key)
    const { masterKeys } = load({ MASTER_ENCRYPTION_KEY_FILE: 'key' })
    expect(masterKeys.map((bytes) => Buffer.from(bytes))).toEqual([key])
  })

  test('a secret given twice, or whose file is missing or empty, is a problem', () => {
    writeFileSync(join(folder.cwd, 'empty'), '\n')
    expect(problemsOf({ JWT_SECRET: SECRET, JWT_SECRET_FILE: 'x' })).toEqual([
      'JWT_SECRET and JWT_SECRET_FILE are both given: keep one',
    ])
    expect(problemsOf({ METRICS_TOKEN_FILE: 'x', SMTP_PASSWORD_FILE: 'empty' }).sort()).toEqual([
      'METRICS_TOKEN_FILE names a file that cannot be read (ENOENT)',
      'SMTP_PASSWORD_FILE names an empty file',
    ])
  })
})

describe('names of older systems', () => {
  test.each<[Env, (config: Config) => unknown, unknown]>([
    [{ ENVIRONMENT: 'test' }, (c) => c.environment, 'test'],
    [{ SERVER_ADDRESS: '127.0.0.1:3000' }, (c) => [c.host, c.port], ['127.0.0.1', 3000]],
    [{ SERVER_ADDRESS: ':3000' }, (c) => [c.host, c.port], ['0.0.0.0', 3000]],
    [{ SERVER_ADDRESS: '[::1]:3000' }, (c) => [c.host, c.port], ['::1', 3000]],
    [{ SERVER_ADDRESS: 'a:1', PORT: '2' }, (c) => [c.host, c.port], ['a', 2]],
    [{ JWT_EXPIRATION: '3600' }, (c) => c.jwt.accessTtlMs, 3_600_000],
    [{ JWT_EXPIRATION: '24h' }, (c) => c.jwt.accessTtlMs, 86_400_000],
    [{ JWT_EXPIRES_IN: '7d' }, (c) => c.jwt.accessTtlMs, 604_800_000],
    [{ JWT_ACCESS_SECRET: SECRET }, (c) => c.jwt.secrets, [SECRET]],
    [{ RUST_LOG: 'hyper=error,debug' }, (c) => c.log.level, 'debug'],
    [{ RUST_LOG: 'TRACE' }, (c) => c.log.level, 'debug'],
    [
      { DB_HOST: '::1', DB_PORT: '5433', DB_USERNAME: 'a/b', DB_PASSWORD: 'c?d', DB_NAME: 'e' },
      (c) => c.database,
      'postgres://a%2Fb:c%3Fd@[::1]:5433/e',
    ],
    [{ REDIS_HOST: 'r', REDIS_PASSWORD: 'p@' }, (c) => c.redisUrl, 'redis://:p%40@r:6379'],
    // What Kubernetes sets for a service called redis.
    [{ REDIS_PORT: 'tcp://10.0.0.1:6379' }, (c) => c.redisUrl, undefined],
  ])('%j', (env, read, expected) => {
    const value = read(load(env))
    const actual =
      value === Object(value) && 'url' in (value as object) ? (value as { url: string }).url : value
    expect(actual).toEqual(expected)
  })

  test('the canonical name wins and says so; others that disagree stop the start', () => {
    const config = load({ JWT_ACCESS_EXPIRES: '15m', JWT_EXPIRATION: '3600' })
    expect(config.jwt.accessTtlMs).toBe(900_000)
    expect(config.notices).toEqual([
      'JWT_EXPIRATION is ignored: JWT_ACCESS_EXPIRES is given too and wins',
    ])
    expect(problemsOf({ JWT_EXPIRATION: '3600', JWT_EXPIRES_IN: '7d' })).toEqual([
      'JWT_EXPIRATION and JWT_EXPIRES_IN disagree: give JWT_ACCESS_EXPIRES instead',
    ])
    expect(problemsOf({ JWT_EXPIRATION: '7d', JWT_EXPIRES_IN: '7d' })).toEqual([])
    expect(problemsOf({ NODE_ENV: 'development', ENVIRONMENT: 'production' })).toEqual([
      'NODE_ENV and ENVIRONMENT disagree on production: give one',
    ])
  })

  test('an incomplete set names what it lacks, unless the address itself is given', () => {
    const env = { POSTGRES_DB: 'x', POSTGRES_PASSWORD: 'y' }
    expect(problemsOf(env)).toEqual(['POSTGRES_HOST/PORT/DB/USER/PASSWORD lacks POSTGRES_HOST'])
    expect(problemsOf({ ...env, DATABASE_URL: 'postgres://h/x' })).toEqual([])
    expect(problemsOf({ SERVER_ADDRESS: 'nonsense' })).toEqual(['SERVER_ADDRESS lacks host:port'])
  })

  test('what is not needed, and what looks misspelt, is said', () => {
    const { notices } = load({
      JOB_SERVER_PORT: '3001',
      API_VERSION: 'v1',
      JWT_REFRESH_SECRET: 'x',
      MONGODB_URI: 'mongodb://localhost/x',
      DATABSE_URL: 'postgres://h/x',
      REDIS_ULR: 'x',
      PATH: '/bin',
      HOME: '/root',
      HOSTNAME: 'h',
      SHELL: 'sh',
    })
    expect(notices).toEqual([
      'JOB_SERVER_PORT is not needed: jobs run in this process, on PORT',
      'API_VERSION is not needed: the API is served at /api/v1 and /api',
      'JWT_REFRESH_SECRET is not needed: refresh tokens are random and stored as hashes',
      'MONGODB_URI is ignored: this server stores in Postgres (DATABASE_URL)',
      'DATABSE_URL is not a setting: did you mean DATABASE_URL?',
      'REDIS_ULR is not a setting: did you mean REDIS_URL?',
    ])
  })

  test('what no feature reads yet is said once, and its value stops nothing', () => {
    const given: Env = Object.fromEntries([...UNREAD_YET].map((name) => [name, '<your value> $']))
    const { notices } = load({ ...given, TURN_SECRET_FILE: 'none', PATH: '/bin' })
    expect(notices).toEqual([
      'these have no effect, no feature here reads them yet: ' +
        [...UNREAD_YET, 'TURN_SECRET_FILE'].join(', '),
    ])
    expect(load({ SENTRY_DSN: '', LND_SOCKET: undefined }).notices).toEqual([])
  })

  test('no name is both read and not read', () => {
    expect([...UNREAD_YET].filter((name) => knownNames.has(name))).toEqual([])
  })
})

describe('what is refused', () => {
  test.each<[string, string, string]>([
    ['PORT', '65536', '("65536") is not a whole number from 0 to 65535'],
    ['PORT', '8080x', '("8080x") is not a whole number from 0 to 65535'],
    ['NODE_ENV', 'prod', '("prod") is none of development, test, production'],
    [
      'PUBLIC_URL',
      'localhost:8080',
      '("localhost:8080") is not an address that begins with http:// or https://',
    ],
    ['JWT_SECRET', 'short', 'is 5 bytes long, at least 32 are needed'],
    [
      'JWT_SECRET',
      `${SECRET},x`,
      'has a wrong entry (number 2): it is 1 bytes long, at least 32 are needed',
    ],
    ['JWT_SECRET', `${SECRET},`, 'has a wrong entry (number 2): it is empty'],
    ['JWT_ACCESS_EXPIRES', '15x', '("15x") is not a duration such as 90s, 15m, 24h or 7d'],
    ['JWT_ACCESS_EXPIRES', '1s', '("1s") must be from 60 to 2592000 seconds'],
    ['MASTER_ENCRYPTION_KEY', 'your_aes_256_key', 'is 12 bytes long once decoded, 32 are needed'],
    ['MASTER_ENCRYPTION_KEY', 'é', 'is neither base64 nor hex'],
    [
      'DATABASE_URL',
      'mysql://h/x',
      'is not an address that begins with postgres:// or postgresql://',
    ],
    ['DATABASE_URL', 'postgres://u:p@h', 'does not name a database after the host'],
    ['REDIS_URL', 'localhost:6379', 'is not an address that begins with redis:// or rediss://'],
    [
      'CORS_ORIGINS',
      '*',
      '("*") may not be `*`: name the origins, since cookies and tokens are at stake',
    ],
    ['CORS_ORIGINS', 'https://a.org/x', '("https://a.org/x") must end after the host and port'],
    [
      'TRUSTED_PROXIES',
      '10.0.0.0/33',
      '("10.0.0.0/33") is neither an IP address nor a network such as 10.0.0.0/8',
    ],
    [
      'TRUSTED_PROXIES',
      'proxy.local',
      '("proxy.local") is neither an IP address nor a network such as 10.0.0.0/8',
    ],
    ['RATE_LIMITS', 'maybe', '("maybe") is neither true nor false'],
    ['LOG_LEVEL', 'loud', '("loud") is none of debug, info, warn, error, fatal'],
    ['METRICS_TOKEN', 'x', 'is 1 bytes long, at least 16 are needed'],
    ['SMTP_PORT', '0', '("0") is not a whole number from 1 to 65535'],
    [
      'MAIL_FROM',
      'nobody',
      '("nobody") is not a mail address such as Rialto <no-reply@example.org>',
    ],
    ['PAYOUT_IBAN', 'FR00', '("FR00") is not an IBAN of the SEPA area'],
    ['PAYOUT_BIC', 'bank', '("bank") is not a BIC such as SOGEDEFFXXX'],
  ])('%s=%s', (name, value, reason) => {
    expect(problemsOf({ [name]: value })[0]).toBe(`${name} ${reason}`)
  })

  test('a weak or mangled administrator hash', () => {
    const weak = HASH.replace('m=65536', 'm=1024')
    const of = (hash: string) =>
      problemsOf({ ADMIN_USERNAME: 'root', ADMIN_PASSWORD_HASH: hash })[0]
    expect(of(weak)).toBe('ADMIN_PASSWORD_HASH is weaker than m=19456,t=2')
    expect(of('=19=65536,t=3,p=4')).toStartWith('ADMIN_PASSWORD_HASH is not an Argon2id hash')
    expect(load({ ADMIN_USERNAME: 'root', ADMIN_PASSWORD_HASH: HASH }).admin!.passwordHash).toBe(
      HASH,
    )
  })

  test('everything at once, with examples and without secrets', () => {
    const env = { PORT: 'canary?', JWT_SECRET: 'canary', REDIS_URL: 'canary', LOG_LEVEL: 'x' }
    let message = ''
    try {
      load({ ...env, DATABASE_URL: 'my://u:canary@h' })
    } catch (error) {
      expect(error).toBeInstanceOf(ConfigError)
      message = (error as Error).message
    }
    expect(message).not.toContain('canary')
    expect(message.split('\n')).toHaveLength(6)
    expect(message).toStartWith('The configuration has 5 problems:\n  PORT is not')
    expect(message).toContain('Example: REDIS_URL=redis://')
  })
})
