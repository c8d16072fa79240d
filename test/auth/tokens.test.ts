import { createHmac } from 'node:crypto'
import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { decodeProtectedHeader, jwtVerify, type JWTVerifyOptions } from 'jose'
import { createAccessTokens } from '../../src/auth/sessions/tokens.ts'
import { testClock } from '../../src/base/clock.ts'
import { Failure } from '../../src/base/errors.ts'

const { FUZZ_RUNS: runs = '300', SEED: seed } = process.env
const FUZZ_RUNS = Number(runs)
const fuzz = (numRuns: number) => ({ numRuns, ...(seed && { seed: Number(seed) }) })
const START_MS = Date.UTC(2026, 0, 1)
const TTL_MS = 15 * 60_000
const NOW = START_MS / 1000

const secrets = [
  'the secret that signs, of 32 bytes or more',
  'the secret that used to sign, 32 bytes',
]
const [current, previous] = secrets as [string, string]
const subject = {
  userId: '01900000-0000-7000-8000-000000000001',
  sessionId: '01900000-0000-7000-8000-000000000002',
  roles: ['user', 'creator'] as const,
  sessionEndsMs: START_MS + 30 * 86_400_000,
}

function issuerOf(keys: readonly string[], accessTtlMs = TTL_MS, clock = testClock(START_MS)) {
  return { clock, tokens: createAccessTokens({ secrets: keys, accessTtlMs, clock }) }
}
const signed = (keys: readonly string[]) => issuerOf(keys).tokens.sign(subject)

/** `ok`, or the code of the refusal. */
function verdict(tokens: ReturnType<typeof createAccessTokens>, token: string): string {
  try {
    tokens.verify(token)
    return 'ok'
  } catch (error) {
    if (error instanceof Failure) return error.code
    throw error
  }
}

/** What the library makes of a token when it is told everything there is to check. */
const kids = new Map<unknown, string>()
for (const secret of secrets) {
  kids.set(decodeProtectedHeader((await signed([secret])).token).kid, secret)
}
async function oracle(token: string, options: JWTVerifyOptions = strict): Promise<boolean> {
  try {
    const key = (header: { kid?: string }) => new TextEncoder().encode(kids.get(header.kid) ?? '')
    await jwtVerify(token, key, options)
    return true
  } catch {
    return false
  }
}
const strict: JWTVerifyOptions = {
  algorithms: ['HS256'],
  typ: 'at+jwt',
  issuer: 'rialto',
  audience: 'rialto',
  requiredClaims: ['iss', 'aud', 'sub', 'sid', 'roles', 'iat', 'exp'],
  maxTokenAge: TTL_MS / 1000,
  currentDate: new Date(START_MS),
}

const encode = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** A token put together by hand, signed rightly unless told otherwise. */
function forge(change: {
  header?: object
  claims?: object
  payload?: string
  secret?: string
  hash?: string
}): string {
  const { secret = current, hash = 'sha256' } = change
  const kid = [...kids].find(([, of]) => of === current)?.[0]
  const header = { alg: 'HS256', typ: 'at+jwt', kid, ...change.header }
  const claims = {
    sid: subject.sessionId,
    roles: subject.roles,
    iss: 'rialto',
    aud: 'rialto',
    sub: subject.userId,
    iat: NOW,
    exp: NOW + TTL_MS / 1000,
    ...change.claims,
  }
  const text = `${encode(header)}.${change.payload ?? encode(claims)}`
  return `${text}.${createHmac(hash, secret).update(text).digest('base64url')}`
}

/** Changes the last character of a signature without changing the bytes that it stands for. */
function respelt(token: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const last = alphabet.indexOf(token.slice(-1))
  return token.slice(0, -1) + alphabet[last ^ 1]
}

const good = forge({})
const [goodHeader, goodPayload, goodSignature] = good.split('.') as [string, string, string]
const previousKid = [...kids].find(([, of]) => of === previous)?.[0]

interface Case {
  readonly name: string
  readonly token: string
  readonly expected: 'ok' | 'unauthenticated' | 'token_expired'
  /** We refuse what the library lets pass. */
  readonly stricter?: true
}
const refused = (name: string, token: string, stricter?: true): Case => ({
  name,
  token,
  expected: 'unauthenticated',
  ...(stricter && { stricter }),
})
const claims = (name: string, change: object, stricter?: true) =>
  refused(name, forge({ claims: change }), stricter)

const cases: Case[] = [
  { name: 'as issued', token: good, expected: 'ok' },
  {
    name: 'signed by the previous secret under its id',
    token: forge({ header: { kid: previousKid }, secret: previous }),
    expected: 'ok',
  },
  { name: 'nbf in the past', token: forge({ claims: { nbf: NOW - 5 } }), expected: 'ok' },
  { name: 'an unknown claim more', token: forge({ claims: { extra: 1 } }), expected: 'ok' },
  {
    name: 'expired',
    token: forge({ claims: { iat: NOW - 60, exp: NOW - 1 } }),
    expected: 'token_expired',
  },
  {
    name: 'expired in this very second',
    token: forge({ claims: { iat: NOW - 60, exp: NOW } }),
    expected: 'token_expired',
  },
  {
    name: 'older than tokens may be, whatever it says of its end',
    token: forge({ claims: { iat: NOW - TTL_MS / 1000 - 1, exp: NOW + 3600 } }),
    expected: 'token_expired',
  },
  refused('empty', ''),
  refused('no token', 'hello'),
  refused('two dots', '..'),
  refused('one part', goodHeader),
  refused('two parts', `${goodHeader}.${goodPayload}`),
  refused('four parts', `${good}.x`),
  refused('a part in between', `${goodHeader}.${goodPayload}.${goodPayload}.${goodSignature}`),
  refused('too long', `${goodHeader}.${'A'.repeat(4000)}.${goodSignature}`),
  refused('alg none, no signature', `${encode({ alg: 'none', typ: 'at+jwt' })}.${goodPayload}.`),
  refused('alg none, old signature', forge({ header: { alg: 'none' } })),
  refused('alg HS512', forge({ header: { alg: 'HS512' }, hash: 'sha512' })),
  refused('alg HS512, hashed by SHA-256', forge({ header: { alg: 'HS512' } })),
  refused('alg HS384', forge({ header: { alg: 'HS384' }, hash: 'sha384' })),
  refused('alg RS256', forge({ header: { alg: 'RS256' } })),
  refused('alg in small letters', forge({ header: { alg: 'hs256' } })),
  refused('no alg', forge({ header: { alg: undefined } })),
  refused('typ JWT', forge({ header: { typ: 'JWT' } })),
  refused('no typ', forge({ header: { typ: undefined } })),
  refused('typ in capitals', forge({ header: { typ: 'AT+JWT' } }), true),
  refused('no kid', forge({ header: { kid: undefined } })),
  refused('kid of nobody', forge({ header: { kid: 'nobody' } })),
  refused('kid of the other secret', forge({ header: { kid: previousKid } })),
  refused('kid as a path', forge({ header: { kid: '../../dev/null' }, secret: '' })),
  refused('crit', forge({ header: { crit: ['exp'] } })),
  refused('a key of its own', forge({ header: { jwk: { kty: 'oct', k: 'AA' } } }), true),
  refused(
    'a header in other words',
    forge({ header: { typ: 'at+jwt', x: undefined, cty: '' } }),
    true,
  ),
  refused('another secret', forge({ secret: 'a secret that somebody else has, 32 bytes' })),
  refused('empty secret', forge({ secret: '' })),
  refused('no signature', `${goodHeader}.${goodPayload}.`),
  refused('signature cut', good.slice(0, -1)),
  refused('signature padded', `${good}=`, true),
  refused('signature spelt otherwise', respelt(good), true),
  refused('signature in hex', `${goodHeader}.${goodPayload}.${'ab'.repeat(32)}`),
  refused('payload of another', `${goodHeader}.${encode({ sub: 'x' })}.${goodSignature}`),
  refused('space before', ` ${good}`),
  refused('line break after', `${good}\n`, true),
  claims('wrong issuer', { iss: 'somebody' }),
  claims('no issuer', { iss: undefined }),
  claims('issuers in a list', { iss: ['rialto'] }),
  claims('wrong audience', { aud: 'somebody' }),
  claims('no audience', { aud: undefined }),
  claims('several audiences', { aud: ['rialto', 'somebody'] }, true),
  claims('no subject', { sub: undefined }),
  claims('a subject that is no id', { sub: 'root' }, true),
  claims('subject by number', { sub: 1 }, true),
  claims('no session', { sid: undefined }),
  claims('a session that is no id', { sid: 'x' }, true),
  claims('no roles', { roles: undefined }),
  claims('roles as text', { roles: 'admin' }, true),
  claims('a role that is none', { roles: ['root'] }, true),
  claims('no iat', { iat: undefined }),
  claims('iat as text', { iat: String(NOW) }),
  claims('iat with fractions', { iat: NOW - 0.5 }, true),
  claims('made in the future', { iat: NOW + 61, exp: NOW + 900 }),
  claims('no exp', { exp: undefined }),
  claims('exp as text', { exp: String(NOW + 60) }),
  claims('exp with fractions', { exp: NOW + 60.5 }, true),
  claims('exp without end', { exp: 1e300 }, true),
  claims('ends before it begins', { iat: NOW + 30, exp: NOW + 20 }),
  claims('not yet valid', { nbf: NOW + 1 }),
  claims('nbf as text', { nbf: '0' }),
  refused('claims that are a list', forge({ payload: encode([]) })),
  refused('claims that are null', forge({ payload: encode('null') })),
  refused('claims that are no JSON', forge({ payload: encode('{') })),
  refused('claims that are no base64', forge({ payload: '!!!!' })),
  refused('claims that are no UTF-8', forge({ payload: '_____w' })),
]

test.each(cases)('$name → $expected', async ({ token, expected, stricter }) => {
  const { tokens } = issuerOf(secrets)
  expect(verdict(tokens, token)).toBe(expected)
  // Once more, in case the first time has left anything in the cache.
  expect(verdict(tokens, token)).toBe(expected)
  expect(await oracle(token)).toBe(stricter === true || expected === 'ok')
})

test('control: a library that is not told what to check lets many of them pass', async () => {
  const passed = []
  for (const { name, token, expected } of cases) {
    if (
      expected === 'unauthenticated' &&
      (await oracle(token, { currentDate: new Date(START_MS) }))
    ) {
      passed.push(name)
    }
  }
  expect(passed).toContain('wrong issuer')
  expect(passed).toContain('wrong audience')
  expect(passed).toContain('typ JWT')
  expect(passed).toContain('no exp')
})

test('what is issued is what the library accepts, and says whom it is for', async () => {
  const { tokens } = issuerOf(secrets)
  const { token, expiresAtMs } = await tokens.sign(subject)
  expect(await oracle(token)).toBe(true)
  expect(decodeProtectedHeader(token)).toEqual({
    alg: 'HS256',
    typ: 'at+jwt',
    kid: expect.any(String),
  })
  expect(expiresAtMs).toBe(START_MS + TTL_MS)
  expect(tokens.verify(token)).toEqual({
    kind: 'user',
    mfa: false,
    userId: subject.userId,
    sessionId: subject.sessionId,
    roles: ['user', 'creator'],
    expiresAtMs,
  })
})

test('a token ends to the millisecond, also one that was verified before', async () => {
  const { clock, tokens } = issuerOf(secrets)
  const { token } = await tokens.sign(subject)
  expect(verdict(tokens, token)).toBe('ok')
  clock.advance(TTL_MS - 1)
  expect(verdict(tokens, token)).toBe('ok')
  clock.advance(1)
  expect(verdict(tokens, token)).toBe('token_expired')
  clock.jump(-1)
  expect(verdict(tokens, token)).toBe('ok')
})

test('clocks of two instances may differ by a minute', async () => {
  const { tokens } = issuerOf(secrets)
  const ahead = issuerOf(secrets, TTL_MS, testClock(START_MS + 60_000))
  const tooFar = issuerOf(secrets, TTL_MS, testClock(START_MS + 61_000))
  expect(verdict(tokens, (await ahead.tokens.sign(subject)).token)).toBe('ok')
  expect(verdict(tokens, (await tooFar.tokens.sign(subject)).token)).toBe('unauthenticated')
})

test('no token outlives its session', async () => {
  const { tokens } = issuerOf(secrets)
  const { expiresAtMs } = await tokens.sign({ ...subject, sessionEndsMs: START_MS + 60_000 })
  expect(expiresAtMs).toBe(START_MS + 60_000)
})

test('a shorter life in the configuration shortens the tokens that are out', async () => {
  const { token } = await issuerOf(secrets, 3_600_000).tokens.sign(subject)
  const { clock, tokens } = issuerOf(secrets, TTL_MS)
  expect(tokens.verify(token).expiresAtMs).toBe(START_MS + TTL_MS)
  clock.advance(TTL_MS)
  expect(verdict(tokens, token)).toBe('token_expired')
})

test('secrets rotate: an old one verifies while it is listed and never signs', async () => {
  const { token } = await signed([previous])
  expect(verdict(issuerOf([current, previous]).tokens, token)).toBe('ok')
  expect(verdict(issuerOf([current]).tokens, token)).toBe('unauthenticated')
  const kid = decodeProtectedHeader((await signed([current, previous])).token).kid
  expect(kids.get(kid)).toBe(current)
})

test('any change of a character is refused, as the library refuses it', async () => {
  const { tokens } = issuerOf(secrets)
  expect(verdict(tokens, good)).toBe('ok')
  const change = fc.record({
    at: fc.nat(good.length - 1),
    by: fc.string({ minLength: 0, maxLength: 2, unit: 'grapheme' }),
  })
  await fc.assert(
    fc.asyncProperty(change, async ({ at, by }) => {
      const token = good.slice(0, at) + by + good.slice(at + 1)
      fc.pre(token !== good)
      expect(verdict(tokens, token)).toBe('unauthenticated')
    }),
    fuzz(FUZZ_RUNS),
  )
})

test('whatever claims are signed, what we accept the library accepts too', async () => {
  const { tokens } = issuerOf(secrets)
  const mostly = (right: unknown, ...wrong: fc.Arbitrary<unknown>[]) =>
    fc.oneof({ weight: 9, arbitrary: fc.constant(right) }, ...wrong, fc.anything())
  const near = fc.integer({ min: NOW - 1_800, max: NOW + 1_800 })
  const some = fc.record(
    {
      iss: mostly('rialto', fc.constantFrom('Rialto', 'rialto ')),
      aud: mostly('rialto', fc.constantFrom('Rialto', 'rialto ')),
      sub: mostly(subject.userId, fc.uuid()),
      sid: mostly(subject.sessionId, fc.uuid()),
      roles: mostly(['user'], fc.constantFrom([], ['admin'], ['user', 'root'])),
      iat: mostly(NOW, near),
      exp: mostly(NOW + 900, near),
      nbf: mostly(NOW, near),
    },
    { requiredKeys: [] },
  )
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(some, async (change) => {
      let token: string
      try {
        token = forge({ claims: change })
      } catch {
        return // not everything can be written as JSON
      }
      if (verdict(tokens, token) !== 'ok') return
      accepted++
      // Clocks of instances may differ: a little future is the one thing that we let pass.
      expect(await oracle(token, { ...strict, clockTolerance: 60 })).toBe(true)
    }),
    fuzz(FUZZ_RUNS),
  )
  expect(accepted).toBeGreaterThan(FUZZ_RUNS / 10)
})
