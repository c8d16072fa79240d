import { afterAll, beforeAll, expect, test } from 'bun:test'
import { newSecret, secretOf } from '../../src/auth/secrets.ts'
import { judge, type Presented, RETRY_WINDOW_MS } from '../../src/auth/sessions/refresh.ts'
import type { SignedIn } from '../../src/auth/shapes.ts'
import { testClock } from '../../src/base/clock.ts'
import { identity } from './setup.ts'

const DAY_MS = 86_400_000

const clock = testClock()
let world: Awaited<ReturnType<typeof identity>>
beforeAll(async () => {
  world = await identity({ clock })
})
afterAll(() => world.close())

const refresh = (token: string) =>
  world.call<SignedIn>('auth.refresh', null, { refresh_token: token })
const sessionOf = async (id: string) =>
  (await world.kernel.db.sql`select revoked_reason, last_used_at from sessions where id = ${id}`)[0]

test('the verdict on a presented token', () => {
  const fresh: Presented = {
    expiresAtMs: 100_000,
    usedAtMs: undefined,
    successorUsed: false,
    sessionEndsMs: 200_000,
    sessionRevoked: false,
  }
  const used = { ...fresh, usedAtMs: 50_000 }
  const cases: [Presented, number, string][] = [
    [fresh, 50_000, 'rotate'],
    [fresh, 99_999, 'rotate'],
    [fresh, 100_000, 'expired'],
    [{ ...fresh, sessionEndsMs: 60_000 }, 60_000, 'expired'],
    [{ ...fresh, sessionRevoked: true }, 50_000, 'revoked'],
    [{ ...used, sessionRevoked: true }, 90_000, 'revoked'],
    [used, 50_000, 'repeat'],
    [used, 50_000 + RETRY_WINDOW_MS, 'repeat'],
    [used, 50_001 + RETRY_WINDOW_MS, 'reused'],
    [{ ...used, successorUsed: true }, 50_001, 'reused'],
    [used, 100_000, 'expired'],
  ]
  for (const [token, nowMs, expected] of cases) expect(judge(token, nowMs)).toBe(expected as never)
})

test('each use gives a new pair, and both work', async () => {
  const first = await world.person('rotator')
  let token = first.refresh_token
  const seen = new Set([token])
  for (let i = 0; i < 4; i++) {
    clock.advance(60_000)
    const next = await refresh(token)
    expect(seen.has(next.refresh_token)).toBe(false)
    expect(next).toMatchObject({ token_type: 'Bearer', session_id: first.session_id })
    expect(next.user).toEqual(first.user)
    expect(world.authenticator.verify(next.token)).toMatchObject({
      userId: first.user.id,
      sessionId: first.session_id,
      expiresAtMs: Date.parse(next.expires_at),
    })
    token = next.refresh_token
    seen.add(token)
  }
  const { last_used_at } = await sessionOf(first.session_id)
  expect(last_used_at.getTime()).toBe(clock.now())
})

/** Uses the same token many times at once; how many different successors come of it. */
async function successorsOf(token: string, use: (token: string) => Promise<string>) {
  const all = await Promise.all(Array.from({ length: 20 }, () => use(token)))
  return new Set(all).size
}

test('20 uses at the same time get one successor, which then works', async () => {
  const { refresh_token, session_id } = await world.person('parallel')
  const answers: SignedIn[] = []
  const count = await successorsOf(refresh_token, async (token) => {
    const answer = await refresh(token)
    answers.push(answer)
    return answer.refresh_token
  })
  expect(count).toBe(1)
  for (const { token } of answers) world.authenticator.verify(token)
  const rows = await world.kernel.db.sql`
    select count(*)::int as n from refresh_tokens where session_id = ${session_id}`
  expect(rows[0].n).toBe(2)
  await refresh(answers[0]!.refresh_token)
})

test('control: a rotation without lock and derived successor forks the family', async () => {
  const { refresh_token } = await world.person('naive')
  const { sql } = world.kernel.db
  const naive = async (text: string) => {
    const { hash } = secretOf(text)
    const [row] = await sql`select session_id, used_at from refresh_tokens where hash = ${hash}`
    if (row.used_at !== null) return 'refused'
    const next = newSecret()
    await sql`update refresh_tokens set used_at = ${clock.date()} where hash = ${hash}`
    await sql`
      insert into refresh_tokens (hash, session_id, expires_at)
      values (${next.hash}, ${row.session_id}, ${new Date(clock.now() + DAY_MS)})`
    return next.text
  }
  expect(await successorsOf(refresh_token, naive)).toBeGreaterThan(1)
})

test('a lost answer can be asked for again for 10 s', async () => {
  const { refresh_token } = await world.person('lost')
  const first = await refresh(refresh_token)
  clock.advance(RETRY_WINDOW_MS)
  const again = await refresh(refresh_token)
  expect(again.refresh_token).toBe(first.refresh_token)
  expect(again.expires_at).not.toBe(first.expires_at)
  clock.advance(60_000)
  await refresh(again.refresh_token)
})

test('a token used twice, later than that, ends the session for both who hold it', async () => {
  const { refresh_token, session_id, user, actor } = await world.person('stolen')
  const other = await world.call<SignedIn>('auth.login', null, {
    login: user.email,
    password: 'correct horse battery',
  })
  const thief = await refresh(refresh_token)
  clock.advance(RETRY_WINDOW_MS + 1)
  expect(await world.refused(refresh(refresh_token))).toBe('refresh_reused')

  expect((await sessionOf(session_id)).revoked_reason).toBe('refresh_reused')
  expect(world.revoked).toContain(session_id)
  expect(() => world.authenticator.verify(thief.token)).toThrow('Session revoked')
  expect(await world.refused(refresh(thief.refresh_token))).toBe('session_revoked')
  expect(await world.refused(refresh(refresh_token))).toBe('session_revoked')
  // The other device of the same person is another session.
  expect(world.authenticator.verify(other.token).userId).toBe(actor.userId)
  await refresh(other.refresh_token)
})

test('a token whose successor has been used is stolen, however soon it comes', async () => {
  const { refresh_token, session_id } = await world.person('race')
  const next = await refresh(refresh_token)
  await refresh(next.refresh_token)
  expect(await world.refused(refresh(refresh_token))).toBe('refresh_reused')
  expect((await sessionOf(session_id)).revoked_reason).toBe('refresh_reused')
})

test('20 late reuses at once revoke once', async () => {
  const { refresh_token, session_id } = await world.person('chorus')
  await refresh(refresh_token)
  clock.advance(RETRY_WINDOW_MS + 1)
  const codes = await Promise.all(
    Array.from({ length: 20 }, () => world.refused(refresh(refresh_token))),
  )
  expect(codes.filter((code) => code === 'refresh_reused')).toHaveLength(1)
  expect(codes.filter((code) => code === 'session_revoked')).toHaveLength(19)
  expect(world.revoked.filter((id) => id === session_id)).toHaveLength(1)
})

test('the expiry slides by seven days with each use, to thirty days in all', async () => {
  const { refresh_token } = await world.person('slider')
  let token = refresh_token
  for (let day = 6; day < 30; day += 6) {
    clock.advance(6 * DAY_MS)
    token = (await refresh(token)).refresh_token
  }
  clock.advance(6 * DAY_MS - 1)
  const last = await refresh(token)
  expect(Date.parse(last.expires_at)).toBeLessThanOrEqual(clock.now() + 1)
  clock.advance(1)
  expect(await world.refused(refresh(last.refresh_token))).toBe('token_expired')
})

test('a token that was not used for seven days has ended', async () => {
  const { refresh_token } = await world.person('sleeper')
  clock.advance(7 * DAY_MS)
  expect(await world.refused(refresh(refresh_token))).toBe('token_expired')
})

test('unknown tokens, and access tokens, are refused', async () => {
  const { token } = await world.person('confused')
  expect(await world.refused(refresh(newSecret().text))).toBe('unauthenticated')
  expect(await world.refused(refresh(token))).toBe('validation_failed')
})

test('a blocked account gets no more tokens', async () => {
  const { refresh_token, user } = await world.person('blocked')
  await world.kernel.db.sql`update users set blocked_at = now() where id = ${user.id}`
  expect(await world.refused(refresh(refresh_token))).toBe('forbidden')
})

test('roles are those of now', async () => {
  const { refresh_token, user } = await world.person('promoted')
  await world.kernel.db.sql`update users set roles = '{user,admin}' where id = ${user.id}`
  const { token } = await refresh(refresh_token)
  expect(world.authenticator.verify(token).roles).toEqual(['user', 'admin'])
})

test('a lost answer is given again after the master key has been rotated', async () => {
  const { refresh_token } = await world.person('rotated')
  const before = await refresh(refresh_token)
  const rotated = await identity({
    clock,
    database: world.database,
    env: { MASTER_ENCRYPTION_KEY: `${'11'.repeat(32)},${'00'.repeat(32)}` },
  })
  try {
    const after = await rotated.call<SignedIn>('auth.refresh', null, { refresh_token })
    expect(after.refresh_token).toBe(before.refresh_token)
  } finally {
    await rotated.close()
  }
})

test('neither tokens nor their successors are in the database', async () => {
  const { refresh_token } = await world.person('secretive')
  const { refresh_token: next } = await refresh(refresh_token)
  const rows = await world.kernel.db.sql`select t::text as row from refresh_tokens t`
  const dump = rows.map(({ row }: { row: string }) => row).join('\n')
  for (const secret of [refresh_token, next]) {
    expect(dump).not.toContain(secret)
    expect(dump).not.toContain(Buffer.from(secret, 'base64url').toString('hex'))
  }
})
