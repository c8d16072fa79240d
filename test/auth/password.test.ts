import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { SignedIn } from '../../src/auth/shapes.ts'
import { testClock } from '../../src/base/clock.ts'
import { auditTrail } from '../support/audit.ts'
import { workOff } from '../support/jobs.ts'
import { type MailServer, mailServer } from '../support/mail.ts'
import { challengeOf, enrolled, type Enrolled, type Verified } from './enrolled.ts'
import { failure, identity, password } from './setup.ts'

const HOUR_MS = 3_600_000
const NEW = 'a password that is new'

const clock = testClock()
let mail: MailServer
let world: Awaited<ReturnType<typeof identity>>
let count = 0
beforeAll(async () => {
  mail = await mailServer()
  world = await identity({ env: mail.env, clock })
})
afterAll(async () => {
  await world.close()
  await mail.close()
})

/** Somebody new, whose first mail is out of the way. */
async function somebody(extra: object = {}) {
  const name = `p${++count}`
  const person = await world.person(name, extra)
  await workOff(world.kernel)
  mail.clear()
  return { ...person, email: `${name}@example.org` }
}
beforeEach(() => mail.clear())

const forgot = (email: string) => world.call('auth.password.forgot', null, { email })
const reset = (token: string | undefined, pass = NEW) =>
  world.call('auth.password.reset', null, { token, password: pass })
const login = (email: string, pass: string) =>
  world.call<SignedIn>('auth.login', null, { email, password: pass })
/** The secret of the link that asking brings. */
async function linkFor(email: string): Promise<string> {
  await forgot(email)
  await workOff(world.kernel)
  return mail.to(email).at(-1)?.token as string
}
const change = (actor: Awaited<ReturnType<typeof somebody>>['actor'], fields: object) =>
  world.call('auth.password.change', actor, fields)

describe('forgotten', () => {
  test('a link in the mail sets a new password, once, and ends every session', async () => {
    const ann = await somebody({ locale: 'fr', time_zone: 'Europe/Paris' })
    const token = await linkFor(ann.email.toUpperCase())
    const [letter] = mail.to(ann.email)
    expect(letter).toMatchObject({ page: 'reset-password' })
    expect(letter?.text).toContain('jusqu’au 1 janvier 2026 à 02:00 UTC+1')
    expect(letter?.text).toMatch(/Adresse réseau\u00a0: 10\.0\./)
    mail.clear()
    await reset(token)
    expect(() => world.authenticator.verify(ann.token)).toThrow('Session revoked')
    expect(await world.refused(login(ann.email, password))).toBe('invalid_credentials')
    const { user } = await login(ann.email, NEW)
    // Whoever has the link reads the mailbox.
    expect(user.email_verified).toBe(true)
    expect(await world.refused(reset(token))).toBe('invalid_link')
    await workOff(world.kernel)
    expect(mail.to(ann.email).map(({ parsed }) => parsed.subject)).toContain(
      'Votre mot de passe a été modifié',
    )
    const lines = await auditTrail(world, 'auth.password_')
    expect(lines.filter(({ target_id }) => target_id === user.id)).toMatchObject([
      { action: 'auth.password_reset_requested', actor_kind: 'server' },
      { action: 'auth.password_reset', actor_id: user.id, after: { sessions_ended: 1 } },
    ])
    const [row] = await world.kernel.db.sql`
      select security_changed_at from users where id = ${user.id}`
    expect(row.security_changed_at).toEqual(clock.date())
  })

  test('the answer is the same for everybody', async () => {
    const known = await somebody()
    const blocked = await somebody()
    const closed = await somebody()
    await world.kernel.db.sql`update users set blocked_at = now() where id = ${blocked.user.id}`
    await world.kernel.db.sql`update users set closed_at = now() where id = ${closed.user.id}`
    const answers = []
    for (const email of [known.email, blocked.email, closed.email, 'nobody@example.org']) {
      answers.push(await forgot(email))
    }
    expect(answers).toEqual(Array(4).fill({ accepted: true }))
    await workOff(world.kernel)
    expect(mail.received.map(({ to }) => to)).toEqual([known.email])
  })

  test('of twenty who use a link at once one sets the password', async () => {
    const ann = await somebody()
    const token = await linkFor(ann.email)
    const tries = Array.from({ length: 20 }, (_, i) => reset(token, `password number ${i}`))
    const done = await Promise.allSettled(tries)
    const won = done.findIndex(({ status }) => status === 'fulfilled')
    expect(done.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    await login(ann.email, `password number ${won}`)
  })

  test('a link is good for an hour, and not for longer', async () => {
    const [ann, bob] = [await somebody(), await somebody()]
    const [early, late] = [await linkFor(ann.email), await linkFor(bob.email)]
    clock.jump(HOUR_MS - 1)
    await reset(early)
    clock.jump(1)
    expect(await world.refused(reset(late))).toBe('invalid_link')
    await login(bob.email, password)
  })

  test('a newer link ends the older one', async () => {
    const ann = await somebody()
    const [first, second] = [await linkFor(ann.email), await linkFor(ann.email)]
    expect(await world.refused(reset(first))).toBe('invalid_link')
    await reset(second)
  })

  test('strangers who ask again and again neither flood a mailbox nor kill the link', async () => {
    const ann = await somebody()
    for (let i = 0; i < 10; i++) await linkFor(ann.email)
    const letters = mail.to(ann.email)
    expect(letters).toHaveLength(3)
    await reset(letters.at(-1)?.token)
  })

  test('asking at the same moment makes one job, not fifty', async () => {
    const ann = await somebody()
    await Promise.all(Array.from({ length: 50 }, () => forgot(ann.email)))
    const [row] = await world.kernel.db.sql`
      select count(*)::int as jobs from queue_jobs where queue = 'auth.forgotten_password'`
    expect(row.jobs).toBe(1)
    await workOff(world.kernel)
    expect(mail.to(ann.email)).toHaveLength(1)
  })

  test('no password is hashed for whoever has no link', async () => {
    const made = Bun.password.hash
    let hashed = 0
    Bun.password.hash = ((...of: Parameters<typeof made>) => {
      hashed++
      return made(...of)
    }) as typeof made
    try {
      expect(await world.refused(reset('A'.repeat(43)))).toBe('invalid_link')
    } finally {
      Bun.password.hash = made
    }
    expect(hashed).toBe(0)
    const lines = await auditTrail(world, 'auth.link_refused')
    expect(lines.at(-1)).toMatchObject({ outcome: 'failure', after: { purpose: 'reset_password' } })
  })

  test('what is not a secret of ours, or not a password, is said to be that', async () => {
    for (const fields of [
      { token: 'short', password: NEW },
      { token: 'A'.repeat(43), password: 'short' },
      { token: 'A'.repeat(43), password: 'with a \0 inside' },
      { token: 'A'.repeat(43), password: 'x'.repeat(201) },
      { token: ['A'.repeat(43)], password: NEW },
      { token: 'A'.repeat(43), password: NEW, email: 'ann@example.org' },
    ]) {
      const refused = world.call('auth.password.reset', null, fields)
      expect(await world.refused(refused)).toBe('validation_failed')
    }
    expect(await world.refused(forgot('no address'))).toBe('validation_failed')
  })

  test('a blocked account stays closed to an earlier link', async () => {
    const ann = await somebody()
    const token = await linkFor(ann.email)
    await world.kernel.db.sql`update users set blocked_at = now() where id = ${ann.user.id}`
    expect(await world.refused(reset(token))).toBe('forbidden')
    await world.kernel.db.sql`update users set blocked_at = null where id = ${ann.user.id}`
    await login(ann.email, password)
  })

  test('the administrator of the configuration gets no link', async () => {
    const ann = await somebody()
    await world.kernel.db.sql`update users set environment_admin = true where id = ${ann.user.id}`
    await forgot(ann.email)
    await workOff(world.kernel)
    expect(mail.received).toEqual([])
    const fields = { current_password: password, password: NEW }
    expect(await world.refused(change(ann.actor, fields))).toBe('forbidden')
  })

  test('a change of address that somebody has begun ends with the old password', async () => {
    const ann = await somebody()
    await world.call('auth.email.change', ann.actor, { email: 'thief@example.org', password })
    await workOff(world.kernel)
    const thiefs = mail.to('thief@example.org')[0]?.token
    await reset(await linkFor(ann.email))
    const confirming = world.call('auth.email.confirm', null, { token: thiefs })
    expect(await world.refused(confirming)).toBe('invalid_link')
  })

  test('a login that was under way with the old password opens no session', async () => {
    const ann = await somebody()
    const token = await linkFor(ann.email)
    const logins = Array.from({ length: 6 }, () => login(ann.email, password))
    const done = (await Promise.allSettled([reset(token), ...logins])).slice(1)
    for (const one of done) {
      if (one.status === 'rejected') continue
      // Opened before the change: it has been found and ended.
      const { token: access } = (one as PromiseFulfilledResult<SignedIn>).value
      expect(() => world.authenticator.verify(access)).toThrow('Session revoked')
    }
    const [row] = await world.kernel.db.sql`
      select count(*)::int as open from sessions
      where user_id = ${ann.user.id} and revoked_at is null`
    expect(row.open).toBe(0)
  })
})

describe('changing', () => {
  test('takes the old one, ends the other sessions and tells the owner', async () => {
    const ann = await somebody()
    const other = await login(ann.email, password)
    const answer = await change(ann.actor, { current_password: password, password: NEW })
    expect(answer).toEqual({ password_changed: true, sessions_ended: 1 } as never)
    expect(() => world.authenticator.verify(other.token)).toThrow('Session revoked')
    world.authenticator.verify(ann.token)
    await login(ann.email, NEW)
    expect(await world.refused(login(ann.email, password))).toBe('invalid_credentials')
    await workOff(world.kernel)
    expect(mail.to(ann.email).map(({ parsed }) => parsed.subject)).toContain(
      'Your password was changed',
    )
    const lines = await auditTrail(world, 'auth.password_changed')
    expect(lines.at(-1)).toMatchObject({ actor_id: ann.user.id, after: { sessions_ended: 1 } })
  })

  test('a wrong old password changes nothing, is audited, and may not be guessed', async () => {
    const ann = await somebody()
    const guess = (current_password: string) =>
      change(ann.actor, { current_password, password: NEW })
    expect(await world.refused(guess('a wrong password'))).toBe('invalid_credentials')
    const lines = await auditTrail(world, 'auth.password_refused')
    expect(lines.at(-1)).toMatchObject({ outcome: 'failure', actor_id: ann.user.id })
    const codes = []
    for (let i = 0; i < 6; i++) codes.push((await failure(guess(`guess ${i}`))).code)
    expect(codes).toEqual([
      ...Array<string>(4).fill('invalid_credentials'),
      'rate_limited',
      'rate_limited',
    ])
    // A thief's guesses do not keep the owner from a new password.
    await reset(await linkFor(ann.email))
    await login(ann.email, NEW)
  })

  test('of ten changes at once one counts, and the password is that one', async () => {
    const ann = await somebody()
    const wishes = Array.from({ length: 5 }, (_, i) => `wish number ${i}`)
    const done = await Promise.allSettled(
      wishes.map((wish) => change(ann.actor, { current_password: password, password: wish })),
    )
    const won = done.flatMap(({ status }, i) =>
      status === 'fulfilled' ? [wishes[i] as string] : [],
    )
    expect(won).toHaveLength(1)
    await login(ann.email, won[0] as string)
  })

  test('a link for a new password that waits in the mailbox ends', async () => {
    const ann = await somebody()
    const token = await linkFor(ann.email)
    await change(ann.actor, { current_password: password, password: NEW })
    expect(await world.refused(reset(token, 'a third password'))).toBe('invalid_link')
  })
})

describe('with a second factor', () => {
  /** Calls with a fresh code for exactly this. */
  async function withCode(ann: Enrolled, name: string, fields: object) {
    clock.advance(30_000)
    const challenge = await challengeOf(world.call(name, ann.actor, fields))
    const { step_up } = await world.call<Verified>('auth.mfa.verify', ann.actor, {
      challenge,
      code: ann.code(),
    })
    return await world.call(name, ann.actor, fields, undefined, step_up)
  }

  test('the password and the address change only with a fresh code', async () => {
    const ann = await enrolled(world, `p${++count}`)
    const wish = { current_password: password, password: NEW }
    await withCode(ann, 'auth.password.change', wish)
    const address = { email: `new-${ann.email}`, password: NEW }
    await withCode(ann, 'auth.email.change', address)
    await workOff(world.kernel)
    expect(mail.to(address.email)[0]).toMatchObject({ page: 'confirm-email' })
  })

  test('a stolen session with the password, but without a code, changes nothing', async () => {
    const ann = await enrolled(world, `p${++count}`)
    for (const [name, fields] of [
      ['auth.password.change', { current_password: password, password: NEW }],
      ['auth.email.change', { email: 'thief@example.org', password }],
    ] as const) {
      expect(await world.refused(world.call(name, ann.actor, fields))).toBe('step_up_required')
    }
    await workOff(world.kernel)
    expect(mail.to('thief@example.org')).toEqual([])
    await workOff(world.kernel)
    // The mailbox sets a new password, but the login still asks for a code.
    await reset(await linkFor(ann.email))
    expect(await world.refused(login(ann.email, NEW))).toBe('mfa_code_required')
  })
})
