import { generateKeyPairSync } from 'node:crypto'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'bun:test'
import { configFolder, type Env, SECRET } from './folder.ts'

const folder = configFolder()
const { load, problemsOf } = folder

/** The least that production accepts. */
const production: Env = {
  NODE_ENV: 'production',
  PUBLIC_URL: 'https://api.example.org',
  DATABASE_URL: 'postgres://u:p@db/rialto',
  JWT_SECRET: SECRET,
  MASTER_ENCRYPTION_KEY: Buffer.alloc(32, 7).toString('base64'),
  TRUSTED_PROXIES: '10.0.0.0/8',
}

describe('settings that belong together', () => {
  test.each<[Env, string]>([
    [{ ADMIN_USERNAME: 'a' }, 'ADMIN_PASSWORD_HASH is missing beside ADMIN_USERNAME'],
    [{ SMTP_HOST: 'h' }, 'MAIL_FROM is missing beside SMTP_HOST'],
    [{ SMTP_PASSWORD: 'p' }, 'SMTP_USER is missing beside SMTP_PASSWORD'],
    [{ PAYOUT_NAME: 'n', PAYOUT_BIC: 'SOGEDEFFXXX' }, 'PAYOUT_IBAN is missing beside PAYOUT_NAME'],
    [{ PAYOUT_BIC: 'SOGEDEFFXXX' }, 'PAYOUT_IBAN is missing beside PAYOUT_BIC'],
    [
      { DATABASE_EMBEDDED: 'true', DATABASE_URL: 'postgres://h/x' },
      'DATABASE_EMBEDDED is true while DATABASE_URL is given: keep one',
    ],
    [
      { DATABASE_SERVER_URL: 'postgres://s@h/x' },
      'DATABASE_URL is missing beside DATABASE_SERVER_URL',
    ],
    [
      {
        DATABASE_URL: 'postgres://h/x',
        DATABASE_SERVER_URL: 'postgres://s@h/x',
        DATABASE_SINGLE_ROLE: 'true',
      },
      'DATABASE_SINGLE_ROLE is true while DATABASE_SERVER_URL is given: keep one',
    ],
    [{ DATABASE_EMBEDDED: 'no' }, 'DATABASE_URL is missing while DATABASE_EMBEDDED is false'],
  ])('%j', (env, problem) => {
    expect(problemsOf(env)).toContain(problem)
  })

  test('features that do not exist', () => {
    expect(problemsOf({ FEATURES: 'messaging,romms' }, ['messaging', 'rooms'])).toEqual([
      'FEATURES names romms, which is not one of: messaging, rooms',
    ])
    expect(load({ FEATURES: 'messaging, rooms' }, ['messaging', 'rooms']).features).toEqual([
      'messaging',
      'rooms',
    ])
  })

  test('features that move money without the ledger', () => {
    const product = ['funding', 'ledger', 'messaging', 'payouts']
    expect(problemsOf({ FEATURES: 'payouts,messaging,funding' }, product)).toEqual([
      'FEATURES names funding, which needs ledger: name both, or neither',
      'FEATURES names payouts, which needs ledger: name both, or neither',
    ])
    for (const FEATURES of ['payouts, ledger', 'messaging', 'ledger', 'all']) {
      expect(problemsOf({ FEATURES }, product)).toEqual([])
    }
  })
})

describe('production', () => {
  test('accepts the least it needs', () => {
    const config = load(production, ['messaging'])
    expect(config).toMatchObject({ production: true, publicUrl: 'https://api.example.org' })
    expect(config.cors).toEqual({ origins: ['https://api.example.org'], localhostAllowed: false })
    expect(() => readdirSync(join(folder.cwd, '.rialto'))).toThrow('ENOENT')
  })

  test('names everything that is missing at once, by either name of the environment', () => {
    const features = ['messaging', 'ledger', 'payouts', 'mail']
    expect(problemsOf({ ENVIRONMENT: 'production' }, features).map((p) => p.split(' ')[0])).toEqual(
      [
        'JWT_SECRET',
        'MASTER_ENCRYPTION_KEY',
        'PUBLIC_URL',
        'DATABASE_URL',
        'TLS_CERT',
        'PAYOUT_NAME',
        'PAYOUT_IBAN',
        'SMTP_HOST',
      ],
    )
  })

  test.each<[Env, string]>([
    [{ PUBLIC_URL: 'http://a.org' }, 'PUBLIC_URL must begin with https:// in production'],
    [{ RATE_LIMITS: 'off' }, 'RATE_LIMITS may not be off in production'],
    [{ DATABASE_SINGLE_ROLE: 'true' }, 'DATABASE_SINGLE_ROLE may not be true in production'],
  ])('refuses %j, which development accepts', (env, problem) => {
    expect(problemsOf({ ...production, ...env })).toEqual([problem])
    expect(problemsOf(env)).toEqual([])
  })

  test('takes the embedded database only when it is chosen', () => {
    const env = { ...production, DATABASE_URL: undefined }
    expect(problemsOf(env)[0]).toContain('or DATABASE_EMBEDDED=true')
    expect(load({ ...env, DATABASE_EMBEDDED: 'true' }).database).toEqual({
      embedded: true,
      singleRole: false,
    })
  })

  test('mail needs a server, and a sender unless its account is one', () => {
    expect(problemsOf(production, ['mail'])).toEqual([
      'SMTP_HOST is missing: mail needs it in production (or leave it out of FEATURES)',
    ])
    const smtp = { ...production, SMTP_HOST: 'smtp.example.org' }
    expect(problemsOf(smtp, ['mail'])).toEqual(['MAIL_FROM is missing beside SMTP_HOST'])
    expect(problemsOf({ ...smtp, MAIL_FROM: 'a@example.org' }, ['mail'])).toEqual([])
    const account = { SMTP_USER: 'a@example.org', SMTP_PASSWORD: 'p' }
    expect(load({ ...smtp, ...account }, ['mail']).smtp?.from).toBe('a@example.org')
    expect(problemsOf({ SMTP_TLS_CA: 'none' })).not.toEqual([])
  })

  test('a feature that is off needs none of its drivers', () => {
    const env = { ...production, FEATURES: 'messaging' }
    expect(problemsOf(env, ['messaging', 'payouts'])).toEqual([])
    expect(problemsOf(production, ['messaging', 'payouts'])).toHaveLength(2)
  })
})

/** Self-signed for localhost, made for this test. */
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBfzCCASWgAwIBAgIUXxdi8xkZbKaURUrspBHGxeeWPjwwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTA4MzEzNVoYDzIxMjYxMDI4
MDgzMTM1WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASCrx3Yao9kI+kOwhVW4Q9uZYihPMZ9RPvSbEM1VQZF4+Si8xl58kMN
wT7oO/+iK1OnK6cYDxI6I/exV+YO05wUo1MwUTAdBgNVHQ4EFgQUoSvE9hRmxlTX
gPf3n1n4fyMFLgYwHwYDVR0jBBgwFoAUoSvE9hRmxlTXgPf3n1n4fyMFLgYwDwYD
VR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA2OljiptS0PZGRUBF5IEj
WPYI3+FiidF2/Q5GaYPQC0QCIFz/5zEYToPvdPYR1enJoeteQBdbhVuUmA7tK8vM
HzE8
-----END CERTIFICATE-----
`

const PRIVATE_KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglHnZUuYhzYNZ/lIY
ABoghRYvuks4u2iw/ZecQ91Yv+ihRANCAASCrx3Yao9kI+kOwhVW4Q9uZYihPMZ9
RPvSbEM1VQZF4+Si8xl58kMNwT7oO/+iK1OnK6cYDxI6I/exV+YO05wU
-----END PRIVATE KEY-----
`

describe('TLS', () => {
  test('takes a certificate and its key as paths or text, and refuses a stranger', () => {
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    writeFileSync(join(folder.cwd, 'a.crt'), CERTIFICATE)
    writeFileSync(join(folder.cwd, 'a.key'), PRIVATE_KEY)
    writeFileSync(join(folder.cwd, 'b.key'), stranger.export({ type: 'pkcs8', format: 'pem' }))
    const config = load({ TLS_CERT: 'a.crt', TLS_KEY: PRIVATE_KEY.replaceAll('\n', '\\n') })
    expect([config.tls!.cert, config.tls!.key]).toEqual([CERTIFICATE, PRIVATE_KEY])
    expect(config.publicUrl).toBe('https://localhost:8080')
    expect(problemsOf({ TLS_CERT: 'a.crt', TLS_KEY: 'b.key' })).toEqual([
      'TLS_KEY is not the private key of TLS_CERT',
    ])
    expect(problemsOf({ TLS_CERT: 'a.key', TLS_KEY: 'none' })).toEqual([
      'TLS_CERT ("a.key") holds no PEM block "CERTIFICATE"',
      'TLS_KEY is neither PEM text nor the path of a readable file (ENOENT)',
    ])
  })
})
