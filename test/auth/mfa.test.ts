import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Secret } from 'otpauth'
import { CLOSE } from '../../realtime/codes.ts'
import { acceptedStep } from '../../src/auth/factors/totp.ts'
import type { SignedIn } from '../../src/auth/shapes.ts'
import { type TestClock, testClock } from '../../src/base/clock.ts'
import type { Actor } from '../../src/kernel/access.ts'
import { auditTrail } from '../support/audit.ts'
import { Client } from '../support/client.ts'
import { codeFor } from '../support/factor.ts'
import { queuedLetters } from '../support/letters.ts'
import { device, person, rest } from '../support/people.ts'
import { testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { challengeOf, enrol, enrolled, type Enrolled, type Verified } from './enrolled.ts'
import { failure, identity, password } from './setup.ts'

let world: Awaited<ReturnType<typeof identity>>
let clock: TestClock
beforeAll(async () => {
  clock = testClock()
  world = await identity({ clock })
})
afterAll(() => world.close())

interface Setup {
  readonly secret: string
  readonly otpauth_url: string
  readonly qr: string
  readonly expires_at: string
}
interface Status {
  readonly enabled: boolean
  readonly enabled_at: string | null
  readonly shown: boolean
  readonly recovery_codes_left: number
}

const setUp = (actor: Actor, input: object = { password }, stepUp?: string) =>
  world.call<Setup>('auth.mfa.setup', actor, input, undefined, stepUp)
const verify = (actor: Actor, input: object) =>
  world.call<Verified>('auth.mfa.verify', actor, input)
const signIn = (email: string, more: object = {}, key?: string) =>
  world.call<SignedIn>('auth.login', null, { email, password, ...more }, key)
const status = (actor: Actor) => world.call<Status>('auth.mfa.status', actor, {})
const actorOf = ({ token }: SignedIn) => world.authenticator.verify(token)
const noticesTo = (userId: string) =>
  world.emitted
    .filter(({ channel }) => channel === `user:${userId}`)
    .map(({ payload }) => (JSON.parse(payload) as { notice: string }).notice)
const lettersTo = async (userId: string) =>
  (await queuedLetters(world.kernel, userId)).map(({ template }) => template)

describe('setting up', () => {
  test('answers with what an app reads, and changes nothing until the first code', async () => {
    const { actor } = await world.person('begins')
    const begun = await setUp(actor)
    expect(begun.secret).toMatch(/^[A-Z2-7]{32}$/)
    const url = new URL(begun.otpauth_url)
    expect(url.protocol).toBe('otpauth:')
    expect(decodeURIComponent(url.pathname)).toEndWith('/Rialto:begins@example.org')
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      secret: begun.secret,
      issuer: 'Rialto',
      algorithm: 'SHA1',
      digits: '6',
      period: '30',
    })
    const svg = Buffer.from(begun.qr.replace('data:image/svg+xml;base64,', ''), 'base64').toString()
    expect(svg).toStartWith('<svg')
    expect(await status(actor)).toMatchObject({ enabled: false, recovery_codes_left: 0 })
    expect(actorOf(await signIn('begins@example.org')).mfa).toBe(false)
  })

  test('needs the password', async () => {
    const { actor } = await world.person('impostor')
    expect(await world.refused(setUp(actor, { password: 'a guess it is' }))).toBe(
      'invalid_credentials',
    )
    const missing = await failure(setUp(actor, {}))
    expect(missing).toMatchObject({ code: 'validation_failed', errors: [{ path: '/password' }] })
  })

  test('an account without a password signs in anew instead', async () => {
    const { actor, user } = await world.person('federated')
    await world.kernel.db.sql`update users set password_hash = null where id = ${user.id}`
    await setUp(actor, {})
    clock.advance(11 * 60_000)
    expect(await world.refused(setUp(actor, {}))).toBe('forbidden')
  })

  test('the first code enables it, and ends the other sessions', async () => {
    const { actor, user } = await world.person('careful')
    const other = actorOf(await signIn('careful@example.org'))
    const { secret } = await setUp(actor)
    const answer = await verify(actor, { code: codeFor(secret, clock.now()) })
    expect(answer.enabled).toBe(true)
    expect(new Set(answer.recovery_codes).size).toBe(10)
    for (const code of answer.recovery_codes as string[]) {
      expect(code).toMatch(/^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){3}$/)
    }
    const shown = world.authenticator.verify(answer.token as string)
    expect(shown).toMatchObject({ mfa: true, sessionId: actor.sessionId })
    expect(world.revoked).toContain(other.sessionId)
    expect(world.revoked).not.toContain(actor.sessionId)
    expect(await status(shown)).toEqual({
      enabled: true,
      enabled_at: clock.iso(),
      shown: true,
      recovery_codes_left: 10,
      recovery: null,
    } as Status)
    const [row] = await world.kernel.db.sql`
      select security_changed_at from users where id = ${user.id}`
    expect(row.security_changed_at).toEqual(clock.date())
    expect(noticesTo(user.id)).toContain('mfa_enabled')
    const lines = await auditTrail(world, 'auth.mfa_enabled')
    expect(lines.filter((line) => line.target_id === user.id)).toHaveLength(1)
  })

  test('beginning again replaces what was not confirmed', async () => {
    const { actor } = await world.person('twice')
    const first = await setUp(actor)
    const second = await setUp(actor)
    const old = verify(actor, { code: codeFor(first.secret, clock.now()) })
    expect(await world.refused(old)).toBe('invalid_code')
    expect((await verify(actor, { code: codeFor(second.secret, clock.now()) })).enabled).toBe(true)
  })

  test('only the session that has begun may confirm, and within 15 minutes', async () => {
    const { actor } = await world.person('slow')
    const other = actorOf(await signIn('slow@example.org'))
    const { secret } = await setUp(actor)
    const elsewhere = verify(other, { code: codeFor(secret, clock.now()) })
    expect(await world.refused(elsewhere)).toBe('mfa_required')
    clock.advance(15 * 60_000)
    const late = verify(actor, { code: codeFor(secret, clock.now()) })
    expect(await world.refused(late)).toBe('mfa_required')
  })

  test('without anything to confirm a code is refused', async () => {
    const { actor } = await world.person('nothing')
    expect(await world.refused(verify(actor, { code: '123456' }))).toBe('mfa_required')
  })

  test('a new authenticator takes a fresh code of the old, which works until then', async () => {
    const ann = await enrolled(world, 'new-phone')
    const challenge = await challengeOf(setUp(ann.actor))
    const { step_up } = await verify(ann.actor, { challenge, code: ann.code() })
    const { secret } = await setUp(ann.actor, { password }, step_up)
    clock.advance(30_000)
    await signIn(ann.email, { mfa_code: ann.code() })
    clock.advance(30_000)
    const answer = await verify(ann.actor, { code: codeFor(secret, clock.now()) })
    expect(answer.recovery_codes).toHaveLength(10)
    clock.advance(30_000)
    expect(await world.refused(signIn(ann.email, { mfa_code: ann.code() }))).toBe('invalid_code')
    const old = { mfa_code: ann.recoveryCodes[0] }
    expect(await world.refused(signIn(ann.email, old))).toBe('invalid_code')
    await signIn(ann.email, { mfa_code: codeFor(secret, clock.now()) })
    const lines = await auditTrail(world, 'auth.mfa_replaced')
    expect(lines).toHaveLength(1)
  })
})

describe('signing in', () => {
  let ann: Enrolled
  beforeAll(async () => {
    ann = await enrolled(world, 'ann')
  })

  test('the code is asked for after the right password, and not before', async () => {
    expect(await world.refused(signIn(ann.email))).toBe('mfa_code_required')
    const wrong = { password: 'a guess it is', mfa_code: ann.code() }
    expect(await world.refused(signIn(ann.email, wrong))).toBe('invalid_credentials')
    // Somebody has the password: the log says so, once.
    const lines = await auditTrail(world, 'auth.mfa_code_missing')
    expect(lines.filter(({ target_id }) => target_id === ann.actor.userId)).toHaveLength(1)
  })

  test('with the code the session has shown it, and keeps that when it is refreshed', async () => {
    clock.advance(30_000)
    const answer = await signIn(ann.email, { mfa_code: ann.code() })
    expect(actorOf(answer).mfa).toBe(true)
    const { refresh_token } = answer
    const next = await world.call<SignedIn>('auth.refresh', null, { refresh_token })
    expect(actorOf(next).mfa).toBe(true)
  })

  test('codes of one step before and after are taken, of two are not', async () => {
    clock.advance(10 * 30_000)
    for (const steps of [-2, 2]) {
      const far = signIn(ann.email, { mfa_code: ann.code(steps) })
      expect(await world.refused(far)).toBe('invalid_code')
    }
    await signIn(ann.email, { mfa_code: ann.code(-1) })
    await signIn(ann.email, { mfa_code: ann.code() })
    await signIn(ann.email, { mfa_code: ann.code(1) })
  })

  test('a code is taken once, and none of a step before the last', async () => {
    clock.advance(10 * 30_000)
    const code = ann.code()
    await signIn(ann.email, { mfa_code: code })
    expect(await world.refused(signIn(ann.email, { mfa_code: code }))).toBe('invalid_code')
    const earlier = signIn(ann.email, { mfa_code: ann.code(-1) })
    expect(await world.refused(earlier)).toBe('invalid_code')
  })

  test('spaces in a code do not matter, letters do', async () => {
    clock.advance(10 * 30_000)
    const code = ann.code()
    const spaced = `${code.slice(0, 3)} ${code.slice(3)}`
    const letters = signIn(ann.email, { mfa_code: `${code.slice(1)}x` })
    expect(await world.refused(letters)).toBe('invalid_code')
    await signIn(ann.email, { mfa_code: spaced })
  })

  test('a repeated login with its key is one session, although the code is used', async () => {
    clock.advance(10 * 30_000)
    const code = { mfa_code: ann.code() }
    const first = await signIn(ann.email, code, 'mfa-key')
    const again = await signIn(ann.email, code, 'mfa-key')
    expect(again.session_id).toBe(first.session_id)
    expect(actorOf(again).mfa).toBe(true)
  })

  test('an account without a second factor signs in whatever code is sent along', async () => {
    await world.person('plain')
    expect(actorOf(await signIn('plain@example.org', { mfa_code: '123456' })).mfa).toBe(false)
  })

  test('refused codes are in the audit log, although they were rolled back', async () => {
    const { actor, email } = await enrolled(world, 'audited')
    await world.refused(signIn(email, { mfa_code: '000000' }))
    const lines = await auditTrail(world, 'auth.mfa_code_refused')
    const own = lines.filter((line) => line.target_id === actor.userId)
    expect(own).toMatchObject([{ outcome: 'failure', actor_kind: 'stranger' }])
  })
})

describe('accepting a code once', () => {
  test('of 50 at the same time one is accepted', async () => {
    const free = await identity({ clock, env: { RATE_LIMITS: 'off' } })
    try {
      const eve = await enrolled(free, 'eve')
      const input = { code: eve.code() }
      const tries = await Promise.allSettled(
        Array.from({ length: 50 }, () => free.call('auth.mfa.verify', eve.actor, input)),
      )
      expect(tries.filter(({ status: s }) => s === 'fulfilled')).toHaveLength(1)
      const reasons = tries.flatMap((x) => (x.status === 'rejected' ? [x.reason.code] : []))
      expect(new Set(reasons)).toEqual(new Set(['invalid_code']))
    } finally {
      await free.close()
    }
  })

  test('control: looking at the last step without a lock accepts several', async () => {
    const { actor, secret } = await enrolled(world, 'naive')
    const { db } = world.kernel
    const code = codeFor(secret, clock.now())
    const bytes = Secret.fromBase32(secret).bytes
    const naive = () =>
      db.transaction(async ({ sql }) => {
        const [row] = await sql`
          select last_step::int as last from second_factors where user_id = ${actor.userId}`
        const step = acceptedStep(bytes, code, clock.now(), row.last as number)
        if (step === undefined) return false
        await sql`select pg_sleep(0.05)`
        await sql`update second_factors set last_step = ${step} where user_id = ${actor.userId}`
        return true
      })
    const accepted = await Promise.all(Array.from({ length: 5 }, naive))
    expect(accepted.filter(Boolean).length).toBeGreaterThan(1)
  })
})

describe('recovery codes', () => {
  test('each signs in once, however it is typed', async () => {
    const { email, recoveryCodes, actor } = await enrolled(world, 'lost')
    const [first = '', second = ''] = recoveryCodes
    expect(actorOf(await signIn(email, { mfa_code: first })).mfa).toBe(true)
    expect(await world.refused(signIn(email, { mfa_code: first }))).toBe('invalid_code')
    const typed = second
      .toLowerCase()
      .replaceAll('-', ' ')
      .replaceAll('0', 'o')
      .replaceAll('1', 'l')
    await signIn(email, { mfa_code: typed })
    expect((await status(actor)).recovery_codes_left).toBe(8)
    expect(noticesTo(actor.userId).filter((n) => n === 'recovery_code_used')).toHaveLength(2)
    expect(await lettersTo(actor.userId)).toContain('recovery_code_used')
  })

  test('of 20 at the same time one is accepted', async () => {
    const free = await identity({ clock, env: { RATE_LIMITS: 'off' } })
    try {
      const { actor, recoveryCodes } = await enrolled(free, 'rush')
      const input = { code: recoveryCodes[0] }
      const tries = await Promise.allSettled(
        Array.from({ length: 20 }, () => free.call('auth.mfa.verify', actor, input)),
      )
      expect(tries.filter(({ status: s }) => s === 'fulfilled')).toHaveLength(1)
    } finally {
      await free.close()
    }
  })

  test('those of somebody else are no use', async () => {
    const { email } = await enrolled(world, 'mine')
    const { recoveryCodes } = await enrolled(world, 'theirs')
    const foreign = signIn(email, { mfa_code: recoveryCodes[0] })
    expect(await world.refused(foreign)).toBe('invalid_code')
  })

  test('new ones replace the old, for a fresh code', async () => {
    const { actor, email, recoveryCodes, code } = await enrolled(world, 'renews')
    const renew = (input: object) =>
      world.call<{ recovery_codes: string[] }>('auth.mfa.recovery_codes', actor, input)
    expect(await world.refused(renew({}))).toBe('step_up_required')
    const { recovery_codes } = await renew({ code: code() })
    expect(recovery_codes).toHaveLength(10)
    const old = signIn(email, { mfa_code: recoveryCodes[0] })
    expect(await world.refused(old)).toBe('invalid_code')
    await signIn(email, { mfa_code: recovery_codes[0] })
  })

  test('there are none without a second factor', async () => {
    const { actor } = await world.person('has-none')
    for (const input of [{}, { code: '123456' }]) {
      const refused = world.call('auth.mfa.recovery_codes', actor, input)
      expect(await world.refused(refused)).toBe('mfa_required')
    }
  })
})

describe('taking it away', () => {
  const disable = (actor: Actor, input: object = {}, stepUp?: string) =>
    world.call<object>('auth.mfa.disable', actor, input, undefined, stepUp)

  test('needs a fresh code, ends the other sessions and is told everywhere', async () => {
    const { actor, email, code } = await enrolled(world, 'leaves')
    const other = actorOf(await signIn(email, { mfa_code: code() }))
    clock.advance(30_000)
    const challenge = await challengeOf(disable(actor))
    expect(await world.refused(disable(actor, { code: '000000' }))).toBe('invalid_code')
    const { step_up } = await verify(actor, { challenge, code: code() })
    expect(await disable(actor, {}, step_up)).toEqual({ enabled: false, sessions_ended: 1 })
    expect(world.revoked).toContain(other.sessionId)
    expect(actorOf(await signIn(email)).mfa).toBe(false)
    expect(await status(actor)).toMatchObject({ enabled: false, shown: false })
    expect(noticesTo(actor.userId)).toContain('mfa_disabled')
    expect(await lettersTo(actor.userId)).toContain('mfa_disabled')
    const lines = await auditTrail(world, 'auth.mfa_disabled')
    expect(lines.map(({ target_id }) => target_id)).toEqual([actor.userId])
  })

  test('by a code in the input, and twice is once', async () => {
    const { actor, code } = await enrolled(world, 'at-once')
    await disable(actor, { code: code() })
    clock.advance(30_000)
    expect(await world.refused(disable(actor, { code: code() }))).toBe('mfa_required')
    expect(await world.refused(disable(actor))).toBe('mfa_required')
  })

  test('can be set up again, with another secret', async () => {
    const { actor, email, secret, code } = await enrolled(world, 'again')
    await disable(actor, { code: code() })
    const anew = await enrol(world, email, actor)
    expect(anew.secret).not.toBe(secret)
    expect(await world.refused(signIn(email, { mfa_code: code() }))).toBe('invalid_code')
    await signIn(email, { mfa_code: anew.code() })
  })

  test('administrators keep theirs', async () => {
    const { actor, code } = await enrolled(world, 'boss')
    await world.kernel.db.sql`update users set roles = '{user,admin}' where id = ${actor.userId}`
    expect(await world.refused(disable(actor, { code: code() }))).toBe('forbidden')
    expect((await status(actor)).enabled).toBe(true)
  })
})

test('neither secrets nor codes can be read in the database', async () => {
  const { secret, recoveryCodes, actor } = await enrolled(world, 'sealed')
  const { db } = world.kernel
  const rows = await db.sql`
    select encode(secret, 'escape') as text from second_factors where user_id = ${actor.userId}
    union all select encode(hash, 'escape') from recovery_codes where user_id = ${actor.userId}
    union all select s::text from second_factors s where user_id = ${actor.userId}`
  const raw = Buffer.from(Secret.fromBase32(secret).bytes).toString('hex')
  for (const { text } of rows) {
    expect(text).not.toContain(secret)
    expect(text).not.toContain(raw)
    for (const code of recoveryCodes) {
      expect(text).not.toContain(code)
      expect(text).not.toContain(code.replaceAll('-', ''))
    }
  }
})

test('a sealed secret that is moved to another account does not open there', async () => {
  const ann = await enrolled(world, 'from')
  const bob = await enrolled(world, 'to')
  await world.kernel.db.sql`
    update second_factors b set secret = a.secret from second_factors a
    where a.user_id = ${ann.actor.userId} and b.user_id = ${bob.actor.userId}`
  const refused = await failure(signIn(bob.email, { mfa_code: ann.code() }))
  expect(refused.code).toBe('internal')
})

test('a change of the factor closes sockets of other sessions on every instance', async () => {
  const one = await testServer()
  const other = await testServer({ database: one.database })
  try {
    const ann = await person(one, 'ann')
    const elsewhere = await device(one, ann)
    const client = await Client.connect(other.wsUrl, elsewhere.token)
    const as = { token: ann.token }
    const begun = await rest(one, 'POST', '/api/v1/auth/mfa/setup', {
      ...as,
      body: { password: ann.password },
    })
    const code = codeFor(begun.body['secret'], Date.now())
    const startMs = performance.now()
    const enabled = await rest(one, 'POST', '/api/v1/auth/mfa/verify', { ...as, body: { code } })
    expect(enabled.body['enabled']).toBe(true)
    await until(() => client.closed !== undefined, 'the socket is closed')
    // Promised: a second.
    expect(performance.now() - startMs).toBeLessThan(2_000)
    expect(client.closed?.code).toBe(CLOSE.session_revoked.code)
    const refused = await rest(other, 'GET', '/api/v1/auth/me', { token: elsewhere.token })
    expect(refused.body['code']).toBe('session_revoked')
    const kept = await rest(other, 'GET', '/api/v1/auth/me', as)
    expect(kept.status).toBe(200)
  } finally {
    await other.stop()
    await one.stop()
  }
})
