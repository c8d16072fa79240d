import { describe, expect, test } from 'bun:test'
import { isSecretName, REDACTED, redactField, redactText } from '../../src/observe/redact.ts'

describe('names', () => {
  const secret = `
    password new_password passwordHash ADMIN_PASSWORD_HASH passphrase token
    access_token refreshToken Authorization set-cookie secret client_secret
    key api_key apiKey privateKey PRIVATE_KEY masterKeys seed mnemonic
    code mfa_code totpCode recovery_codes otp ticket refresh macaroon
    preimage ciphertext payload jwt x-api-key credentials`
  const harmless = `
    user_id close_code status_code error_code public_key monkey decoded
    footprint keyspace token_count refresh_ms payload_bytes route path`
  const words = (text: string) => text.trim().split(/\s+/)

  test.each(words(secret))('%s is secret', (name) => expect(isSecretName(name)).toBe(true))

  test.each(words(harmless))('%s is shown', (name) => expect(isSecretName(name)).toBe(false))

  test('secrets are found at any depth, in arrays, maps and sets', () => {
    const value = { list: [{ deep: new Map([['password', 'p']]) }], set: new Set([{ otp: '1' }]) }
    expect(redactField('value', value)).toEqual({
      list: [{ deep: { password: REDACTED } }],
      set: [{ otp: REDACTED }],
    })
  })

  test('an error code and a close code may be called code, a code to type in may not', () => {
    expect(redactField('code', 'rate_limited')).toBe('rate_limited')
    expect(redactField('code', 4_501)).toBe(4_501)
    for (const value of ['123456', 'abcd-efgh', 123_456, 'abcdefgh']) {
      expect(redactField('code', value)).toBe(REDACTED)
    }
  })
})

describe('texts', () => {
  const jwt = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl'

  test.each([
    ['/ws?token=abc.def&room=1', '/ws?token=[redacted]&room=1'],
    ['GET /ws?x=1&ticket=t0psecret HTTP/1.1', 'GET /ws?x=1&ticket=[redacted] HTTP/1.1'],
    ['/cb?access_token=a&code=b#c', '/cb?access_token=[redacted]&code=[redacted]#c'],
    [
      'https://x.org/account/a?lang=en#token=abc',
      'https://x.org/account/a?lang=en#token=[redacted]',
    ],
    ['Authorization: Bearer abcdefgh12345', 'Authorization: Bearer [redacted]'],
    ['rialto.v1, bearer.abcdefgh12345', 'rialto.v1, bearer.[redacted]'],
    [`got ${jwt}, sorry`, 'got [redacted], sorry'],
    ['postgres://u:p%40ss@db:5432/x', 'postgres://u:[redacted]@db:5432/x'],
    ['redis://:pw@cache:6379', 'redis://:[redacted]@cache:6379'],
    ['hash $argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA.', 'hash [redacted]'],
    ['key rialto_0123456789abcdef_0a1b2c3d.', 'key rialto_0123456789abcdef_[redacted].'],
    ['-----BEGIN PRIVATE KEY-----\nMII\nabc', '-----BEGIN PRIVATE KEY-----[redacted]'],
  ])('%j', (text, expected) => expect(redactText(text)).toBe(expected))

  test('ordinary texts stay as they are', () => {
    for (const text of [
      'user 7 joined https://example.org/a?b=c',
      'a:b@c',
      'tokens are fine',
      '',
    ]) {
      expect(redactText(text)).toBe(text)
    }
  })

  test('no text is slow to search', () => {
    const parts = [
      '?',
      '&a.b',
      'eyJaaaa-',
      'a.',
      'a://b:',
      '-----BEGIN ',
      'bearer ',
      '$2a$',
      '?token',
    ]
    for (const part of parts) {
      const text = part.repeat(Math.ceil(8_192 / part.length))
      const startMs = performance.now()
      redactText(text)
      expect(performance.now() - startMs).toBeLessThan(50)
    }
  })
})

describe('values', () => {
  test('become what JSON knows, bounded in size', () => {
    const circular: Record<string, unknown> = {}
    circular.self = circular
    const value = {
      big: 10n ** 20n,
      when: new Date(0),
      never: new Date(Number.NaN),
      bytes: new Uint8Array(32),
      nan: Number.NaN,
      link: new URL('https://example.org/?token=abcdefgh'),
      many: Array.from({ length: 150 }, (_, index) => index),
      long: 'x'.repeat(10_000),
      call: () => 1,
    }
    const result = redactField('value', value) as Record<string, unknown>
    expect(result).toMatchObject({
      big: '100000000000000000000',
      when: '1970-01-01T00:00:00.000Z',
      never: null,
      bytes: '[32 bytes]',
      nan: 'NaN',
      link: 'https://example.org/?token=[redacted]',
    })
    expect(result.many).toHaveLength(101)
    expect((result.many as unknown[]).at(-1)).toBe('[50 more]')
    expect((result.long as string).length).toBe(8_193)
    expect(JSON.stringify(redactField('value', circular))).toContain('[too deep]')
  })
})

describe('errors', () => {
  const described = (error: unknown) => redactField('error', error) as Record<string, unknown>

  test('have name, message, code, stack and causes', () => {
    const cause = Object.assign(new Error('socket closed'), { code: 'ECONNRESET' })
    const error = new TypeError('cannot send Bearer abcdefgh123', { cause })
    const result = described(error)
    expect(result).toMatchObject({
      name: 'TypeError',
      message: 'cannot send Bearer [redacted]',
      cause: { name: 'Error', message: 'socket closed', code: 'ECONNRESET' },
    })
    expect(result.stack).toMatch(/^ {4}at .*redact\.test\.ts/)
    expect(JSON.stringify(described(new AggregateError([cause], 'two')))).toContain('ECONNRESET')
  })

  test('a query error does not repeat its parameters', () => {
    const cause = Object.assign(
      new Error('duplicate key value violates unique constraint "users_email_key"'),
      {
        code: '23505',
        detail: 'Key (email)=(canary@x) already exists.',
        constraint: 'users_email_key',
      },
    )
    const query = 'insert into "users" ("email") values ($1)'
    const error = Object.assign(
      new Error(`Failed query: ${query}\nparams: canary@x,canary-hash`, { cause }),
      { query, params: ['canary@x', 'canary-hash'] },
    )
    const text = JSON.stringify(described(error))
    expect(text).not.toContain('canary')
    expect(text).toContain('Failed query: insert')
    expect(text).toContain('users_email_key')
    expect(text).toContain('23505')
  })

  test.each([{ code: '22P02' }, { code: 'ERR_POSTGRES_SERVER_ERROR', errno: '22P02' }])(
    'a value that the database could not use is not quoted (%j)',
    (properties) => {
      const error = Object.assign(
        new Error('invalid input syntax for type uuid: "canary "quoted""'),
        properties,
      )
      expect(JSON.stringify(described(error))).not.toContain('canary')
    },
  )
})
