import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { SignedIn } from '../../src/auth/shapes.ts'
import { type TestClock, testClock } from '../../src/base/clock.ts'
import { auditTrail } from '../support/audit.ts'
import { queuesLater, workOff } from '../support/jobs.ts'
import { queuedLetters } from '../support/letters.ts'
import { type MailServer, mailServer } from '../support/mail.ts'
import { enrolled, type Enrolled } from './enrolled.ts'
import { failure, identity, password } from './setup.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

let world: Awaited<ReturnType<typeof identity>>
let clock: TestClock
let mail: MailServer
beforeAll(async () => {
  clock = testClock()
  mail = await mailServer()
  world = await identity({ clock, env: mail.env })
})
afterAll(async () => {
  await world.close()
  await mail.close()
})

interface Started {
  readonly recovery_id: string
  readonly recovery_token: string
  readonly completes_at: string
  readonly ends_at: string
}

let count = 0
let ann: Enrolled
/** Somebody with a second factor, who loses it. */
beforeEach(async () => {
  ann = await enrolled(world, `lost-${++count}`)
})
afterEach(() => mail.clear())

const start = (of = ann, pass = password, key?: string) =>
  world.call<Started>('auth.recovery.start', null, { login: of.email, password: pass }, key)
const complete = (recovery_token: string, of = ann, pass = password) =>
  world.call('auth.recovery.complete', null, { login: of.email, password: pass, recovery_token })
const signIn = (of = ann, more: object = {}) =>
  world.call<SignedIn>('auth.login', null, { email: of.email, password, ...more })
const status = (of = ann) =>
  world.call<{ enabled: boolean; recovery: { completes_at: string } | null }>(
    'auth.mfa.status',
    of.actor,
    {},
  )
const notices = (of = ann) =>
  world.emitted
    .filter(({ channel }) => channel === `user:${of.actor.userId}`)
    .map(({ payload }) => JSON.parse(payload) as { notice: string; completes_at?: string })
/** Mails with a link that stops a recovery. */
const stopping = (address: string) =>
  mail.to(address).filter(({ page }) => page === 'cancel-recovery')
const letters = (of = ann) => queuedLetters(world.kernel, of.actor.userId)

describe('a recovery', () => {
  test('can be completed after 72 hours, with the password and the token', async () => {
    const begun = await start()
    expect(Date.parse(begun.completes_at) - clock.now()).toBe(72 * HOUR_MS)
    expect((await status()).recovery?.completes_at).toBe(begun.completes_at)
    clock.advance(72 * HOUR_MS - 1)
    const early = await failure(complete(begun.recovery_token))
    expect(early.code).toBe('conflict')
    expect(early.message).toContain(begun.completes_at)
    expect(await world.refused(signIn())).toBe('mfa_code_required')
    clock.advance(1)
    expect(await complete(begun.recovery_token)).toEqual({ completed: true } as never)
    expect(world.revoked).toContain(ann.actor.sessionId)
    expect(world.authenticator.verify((await signIn()).token).mfa).toBe(false)
    const [row] = await world.kernel.db.sql`
      select security_changed_at from users where id = ${ann.actor.userId}`
    expect(row.security_changed_at).toEqual(clock.date())
    expect(await world.refused(complete(begun.recovery_token))).toBe('invalid_credentials')
  })

  test('is told to every mailbox and device at once, and stopped from a mail', async () => {
    const { userId } = ann.actor
    await world.kernel.db.sql`
      insert into previous_addresses (id, user_id, email, changed_at, reserved_until)
      values (gen_random_uuid(), ${userId}, 'old@example.org', ${clock.date()}, ${clock.date()})`
    await start()
    expect(notices().map(({ notice }) => notice)).toContain('recovery_started')
    await workOff(world.kernel)
    for (const address of [ann.email, 'old@example.org']) {
      expect(stopping(address)).toHaveLength(1)
      expect(stopping(address)[0]?.token).toHaveLength(43)
    }
    const token = stopping('old@example.org')[0]?.token
    const cancel = () => world.call('auth.recovery.cancel', null, { token })
    expect(await cancel()).toEqual({ cancelled: true } as never)
    expect(await world.refused(cancel())).toBe('invalid_link')
    expect((await status()).recovery).toBeNull()
    expect(notices().at(-1)?.notice).toBe('recovery_cancelled')
  })

  test('is told once more a day before, unless it was stopped', async () => {
    await start()
    const before = (await letters()).length
    await queuesLater(world.kernel, 48 * HOUR_MS - 60_000)
    clock.advance(48 * HOUR_MS)
    await workOff(world.kernel)
    expect(notices().map(({ notice }) => notice)).not.toContain('recovery_reminder')
    await queuesLater(world.kernel, 60_000)
    await workOff(world.kernel)
    expect(notices().at(-1)?.notice).toBe('recovery_reminder')
    expect(before).toBeGreaterThan(0)
    // The link of the first notice still works beside that of the reminder.
    const [first, reminder] = stopping(ann.email)
    expect(first?.token).not.toBe(reminder?.token as string)
    const cancelled = await world.call('auth.recovery.cancel', null, { token: first?.token })
    expect(cancelled).toEqual({ cancelled: true } as never)
  })

  test('that was stopped is not reminded of', async () => {
    await start()
    await world.call('auth.recovery.cancel', ann.actor, {})
    await queuesLater(world.kernel, 72 * HOUR_MS)
    await workOff(world.kernel)
    expect(notices().at(-1)?.notice).toBe('recovery_cancelled')
  })

  test.each([
    ['a session', () => world.call('auth.recovery.cancel', ann.actor, {})],
    ['a code at a login', () => signIn(ann, { mfa_code: ann.code() })],
    ['a code of a session', () => world.call('auth.mfa.verify', ann.actor, { code: ann.code() })],
    ['a recovery code', () => signIn(ann, { mfa_code: ann.recoveryCodes[0] })],
  ])('ends by %s', async (_name, act) => {
    const { recovery_token } = await start()
    await act()
    clock.advance(72 * HOUR_MS)
    expect(await world.refused(complete(recovery_token))).toBe('invalid_credentials')
    expect((await status()).enabled).toBe(true)
    const lines = await auditTrail(world, 'auth.recovery_cancelled')
    expect(lines.filter(({ target_id }) => target_id === ann.actor.userId)).toHaveLength(1)
  })

  test('runs out seven days after it could be completed, and makes room', async () => {
    const { recovery_token } = await start()
    clock.advance(10 * DAY_MS)
    expect(await world.refused(complete(recovery_token))).toBe('invalid_credentials')
    await start()
  })

  test('is one at a time', async () => {
    await start()
    const again = await failure(start())
    expect(again.code).toBe('conflict')
    await world.call('auth.recovery.cancel', ann.actor, {})
    await start()
  })

  test('of ten that begin at once one begins', async () => {
    const tries = await Promise.allSettled(Array.from({ length: 10 }, () => start()))
    const codes = tries.map((x) => (x.status === 'fulfilled' ? 'begun' : x.reason.code))
    expect(codes.filter((code) => code === 'begun')).toHaveLength(1)
    expect(codes.filter((code) => code === 'conflict')).toHaveLength(9)
  })

  test('whose answer was lost gives a new token for the same key', async () => {
    const first = await start(ann, password, `key-${count}`)
    const again = await start(ann, password, `key-${count}`)
    expect(again).toMatchObject({ recovery_id: first.recovery_id, ends_at: first.ends_at })
    clock.advance(72 * HOUR_MS)
    expect(await world.refused(complete(first.recovery_token))).toBe('invalid_credentials')
    await complete(again.recovery_token)
  })

  test('of five that complete at once one does', async () => {
    const { recovery_token } = await start()
    clock.advance(72 * HOUR_MS)
    const tries = await Promise.allSettled(
      Array.from({ length: 5 }, () => complete(recovery_token)),
    )
    expect(tries.filter((x) => x.status === 'fulfilled')).toHaveLength(1)
    const lines = await auditTrail(world, 'auth.recovery_completed')
    expect(lines.filter(({ target_id }) => target_id === ann.actor.userId)).toHaveLength(1)
  })

  test('of somebody else, with their own password, is no use', async () => {
    const { recovery_token } = await start()
    const mallory = await enrolled(world, `mallory-${count}`)
    clock.advance(72 * HOUR_MS)
    const theft = complete(recovery_token, mallory)
    expect(await world.refused(theft)).toBe('invalid_credentials')
    expect((await status(mallory)).enabled).toBe(true)
  })

  test('needs the password of the end, not of the beginning', async () => {
    const { recovery_token } = await start()
    clock.advance(72 * HOUR_MS)
    const hash = await Bun.password.hash('a new password')
    await world.kernel.db.sql`
      update users set password_hash = ${hash} where id = ${ann.actor.userId}`
    expect(await world.refused(complete(recovery_token))).toBe('invalid_credentials')
    await complete(recovery_token, ann, 'a new password')
  })
})

describe('who may begin', () => {
  test('a wrong password and an unknown name are refused alike', async () => {
    const wrong = await failure(start(ann, 'a guess it is'))
    const unknown = await failure(start({ ...ann, email: 'nobody@example.org' }))
    expect([wrong.code, wrong.message]).toEqual([unknown.code, unknown.message])
    expect(wrong.code).toBe('invalid_credentials')
  })

  test('an account without a second factor is refused alike', async () => {
    // Nobody tries passwords here without its owner hearing of the right one.
    const plain = await world.person(`plain-${count}`)
    const of = { ...ann, email: plain.user.email }
    const refused = await failure(start(of))
    const wrong = await failure(start(of, 'a guess it is'))
    expect([refused.code, refused.message]).toEqual([wrong.code, wrong.message])
    const lines = await auditTrail(world, 'auth.recovery_refused')
    expect(lines.map(({ target_id }) => target_id)).toContain(plain.user.id)
  })

  test('a blocked account waits until it is unblocked', async () => {
    await world.kernel.db.sql`
      update users set blocked_at = now() where id = ${ann.actor.userId}`
    expect(await world.refused(start())).toBe('forbidden')
  })

  test('failed logins of strangers, however many, are not in the way', async () => {
    for (let i = 0; i < 15; i++) {
      const guess = signIn(ann, { password: `guess number ${i}` })
      expect(['invalid_credentials', 'rate_limited']).toContain(await world.refused(guess))
    }
    for (let i = 0; i < 8; i++) await world.refused(start(ann, `guess number ${i}`))
    await start()
  })

  test('one network address has five tries', async () => {
    const from = { address: '198.51.100.7' }
    const input = { login: ann.email, password: 'a guess it is' }
    const codes: string[] = []
    for (let i = 0; i < 6; i++) {
      const guess = world.call('auth.recovery.start', null, input, undefined, undefined, from)
      codes.push(await world.refused(guess))
    }
    expect(codes).toEqual([...Array<string>(5).fill('invalid_credentials'), 'rate_limited'])
  })

  test('to stop one, a session or a link is needed', async () => {
    await start()
    const nobody = world.call('auth.recovery.cancel', null, {})
    expect(await world.refused(nobody)).toBe('unauthenticated')
    const guess = world.call('auth.recovery.cancel', null, { token: 'x'.repeat(43) })
    expect(await world.refused(guess)).toBe('invalid_link')
    const stranger = await world.person(`stranger-${count}`)
    expect(await world.call('auth.recovery.cancel', stranger.actor, {})).toEqual({
      cancelled: false,
    } as never)
    expect((await status()).recovery).not.toBeNull()
  })
})

test('the token of a recovery is not in the database', async () => {
  const { recovery_token } = await start()
  const [row] = await world.kernel.db.sql`
    select encode(token_hash, 'base64') as hash, r::text as row from recoveries r
    where user_id = ${ann.actor.userId}`
  expect(row.row).not.toContain(recovery_token)
  expect(row.hash).not.toContain(recovery_token)
})
