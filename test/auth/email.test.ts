import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { Account } from '../../src/auth/shapes.ts'
import { testClock } from '../../src/base/clock.ts'
import type { Caller } from '../../src/kernel/access.ts'
import { auditTrail } from '../support/audit.ts'
import { workOff } from '../support/jobs.ts'
import { type MailServer, mailServer } from '../support/mail.ts'
import { identity, password } from './setup.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

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
beforeEach(() => mail.clear())

type Person = Awaited<ReturnType<typeof newcomer>>

/** Somebody new, whose first mail has arrived. */
async function newcomer(extra: object = {}) {
  const name = `p${++count}`
  const person = await world.person(name, extra)
  await workOff(world.kernel)
  const email = `${name}@example.org`
  const [first] = mail.to(email)
  return { ...person, email, verifyToken: first?.token as string }
}
/** Somebody whose address is verified. */
async function verified(extra: object = {}) {
  const person = await newcomer(extra)
  await world.call('auth.email.verify', null, { token: person.verifyToken })
  mail.clear()
  return person
}
const me = (actor: Caller) => world.call<Account>('auth.me', actor, {})
const use = (name: string, token: string) => world.call(`auth.email.${name}`, null, { token })
const login = (email: string, pass = password) =>
  world.call<{ token: string }>('auth.login', null, { email, password: pass })

/** Asks for a change of address; the secret in the mail to the new one. */
async function askFor({ actor }: Person, email: string): Promise<string> {
  await world.call('auth.email.change', actor, { email, password })
  await workOff(world.kernel)
  return mail.to(email).at(-1)?.token as string
}
/** Changes an address; the secret of the link that takes it back. */
async function change(person: Person, email: string): Promise<string> {
  await use('confirm', await askFor(person, email))
  await workOff(world.kernel)
  return mail.to(person.email).at(-1)?.token as string
}
async function auditOf(userId: string): Promise<string[]> {
  const lines = await auditTrail(world)
  return lines.filter(({ target_id }) => target_id === userId).map(({ action }) => action)
}

describe('verifying', () => {
  test('whoever registers gets a link, which verifies the address once', async () => {
    const ann = await newcomer({ locale: 'fr', time_zone: 'Europe/Paris' })
    const [letter] = mail.to(ann.email)
    expect(letter).toMatchObject({ page: 'verify-email', to: ann.email })
    expect(letter?.parsed.subject).toBe('Veuillez confirmer votre adresse')
    expect((await me(ann.actor)).email_verified).toBe(false)
    expect(await use('verify', ann.verifyToken)).toEqual({ email_verified: true } as never)
    expect((await me(ann.actor)).email_verified).toBe(true)
    expect(await world.refused(use('verify', ann.verifyToken))).toBe('invalid_link')
    expect(await auditOf(ann.user.id)).toContain('auth.email_verified')
  })

  test('of twenty uses at once one counts', async () => {
    const { verifyToken } = await newcomer()
    const all = Array.from({ length: 20 }, () => use('verify', verifyToken))
    const done = (await Promise.allSettled(all)).filter(({ status }) => status === 'fulfilled')
    expect(done).toHaveLength(1)
  })

  test('a link is good for three days, and not for longer', async () => {
    const [ann, bob] = [await newcomer(), await newcomer()]
    clock.jump(3 * DAY_MS - 1)
    await use('verify', ann.verifyToken)
    clock.jump(1)
    expect(await world.refused(use('verify', bob.verifyToken))).toBe('invalid_link')
  })

  test('a link is good for its own purpose only', async () => {
    const { verifyToken } = await newcomer()
    for (const name of ['confirm', 'revert']) {
      expect(await world.refused(use(name, verifyToken))).toBe('invalid_link')
    }
    const reset = world.call('auth.password.reset', null, { token: verifyToken, password })
    expect(await world.refused(reset)).toBe('invalid_link')
    await use('verify', verifyToken)
  })

  test('the database knows no secret that works', async () => {
    const { verifyToken, user } = await newcomer()
    const [row] = await world.kernel.db.sql`
      select encode(hash, 'base64') as hash from one_time_links where user_id = ${user.id}`
    expect(row.hash).not.toContain(verifyToken)
    const jobs = await world.kernel.db.sql`
      select encode(payload, 'escape') as text from queue_jobs`
    expect(jobs.map(({ text }: { text: string }) => text).join()).not.toContain('token')
  })

  test('another link ends the one before it; a verified address gets none', async () => {
    const ann = await newcomer()
    await world.call('auth.email.resend', ann.actor, {})
    await workOff(world.kernel)
    const second = mail.to(ann.email)[1]?.token as string
    expect(await world.refused(use('verify', ann.verifyToken))).toBe('invalid_link')
    await use('verify', second)
    expect(await world.refused(world.call('auth.email.resend', ann.actor, {}))).toBe('conflict')
  })

  test('mail to an address that may be a stranger’s is limited', async () => {
    const ann = await newcomer()
    const codes = []
    for (let i = 0; i < 8; i++) {
      const asked = world.call('auth.email.resend', ann.actor, {})
      codes.push(
        await asked.then(
          () => 'ok',
          (error: { code: string }) => error.code,
        ),
      )
    }
    expect(codes).toEqual([...Array<string>(6).fill('ok'), 'rate_limited', 'rate_limited'])
  })

  test('nothing goes to an account that was closed meanwhile', async () => {
    const { actor, user } = await world.person(`p${++count}`)
    await world.kernel.db.sql`
      update users set closed_at = now(), email = 'x@deleted.invalid' where id = ${user.id}`
    await workOff(world.kernel)
    expect(mail.to(user.email)).toEqual([])
    expect(await world.refused(world.call('auth.email.resend', actor, {}))).toBe('not_found')
  })
})

describe('changing', () => {
  test('takes effect when the new mailbox confirms, and not before', async () => {
    const ann = await verified({ locale: 'fr' })
    const token = await askFor(ann, 'ann-new@example.org')
    expect(mail.to('ann-new@example.org')[0]).toMatchObject({ page: 'confirm-email' })
    expect((await me(ann.actor)).email).toBe(ann.email)
    await use('confirm', token)
    expect(await me(ann.actor)).toMatchObject({
      email: 'ann-new@example.org',
      email_verified: true,
    })
    await login('ann-new@example.org')
    expect(await world.refused(login(ann.email))).toBe('invalid_credentials')
    expect(await world.refused(use('confirm', token))).toBe('invalid_link')
    expect(await auditOf(ann.user.id)).toEqual(
      expect.arrayContaining(['auth.email_change_requested', 'auth.email_changed']),
    )
  })

  test('needs the password', async () => {
    const { actor } = await verified()
    const wrong = { email: 'other@example.org', password: 'a wrong password' }
    expect(await world.refused(world.call('auth.email.change', actor, wrong))).toBe(
      'invalid_credentials',
    )
    await workOff(world.kernel)
    expect(mail.received).toEqual([])
  })

  test('guessing the password with a stolen session is limited, also many at once', async () => {
    const { actor } = await verified()
    const guesses = Array.from({ length: 12 }, (_, i) =>
      world.call('auth.email.change', actor, { email: 'x@example.org', password: `guess ${i}` }),
    )
    const codes = (await Promise.allSettled(guesses)).map(
      (one) => (one as PromiseRejectedResult).reason.code as string,
    )
    expect(codes.filter((code) => code === 'invalid_credentials')).toHaveLength(5)
    expect(codes.filter((code) => code === 'rate_limited')).toHaveLength(7)
  })

  test('an address that is taken is answered alike, and its owner is told', async () => {
    const [ann, bob] = [await verified(), await verified({ locale: 'fr' })]
    const free = await world.call('auth.email.change', ann.actor, {
      email: 'nobodys@example.org',
      password,
    })
    const taken = await world.call('auth.email.change', ann.actor, {
      email: bob.email.toUpperCase(),
      password,
    })
    expect(taken).toEqual(free)
    await workOff(world.kernel)
    const letters = mail.to(bob.email)
    expect(letters).toHaveLength(1)
    expect(letters[0]?.token).toBe('')
    expect(letters[0]?.parsed.subject).toBe('Votre adresse est déjà utilisée')
  })

  test('a stranger who wants an address again and again cannot flood its mailbox', async () => {
    const bob = await verified()
    for (const eve of [await verified(), await verified(), await verified()]) {
      await world.call('auth.email.change', eve.actor, { email: bob.email, password })
      await world.call('auth.email.change', eve.actor, { email: bob.email, password })
    }
    await workOff(world.kernel)
    expect(mail.to(bob.email)).toHaveLength(3)
    // And it costs bob nothing: his own link for a new password still comes.
    await world.call('auth.password.forgot', null, { email: bob.email })
    await workOff(world.kernel)
    expect(mail.to(bob.email).at(-1)?.page).toBe('reset-password')
  })

  test('an address that was taken between asking and confirming stays where it is', async () => {
    const ann = await verified()
    const token = await askFor(ann, 'contested@example.org')
    await world.person('contested')
    expect(await world.refused(use('confirm', token))).toBe('already_exists')
    expect((await me(ann.actor)).email).toBe(ann.email)
  })

  test('of two accounts that confirm the same address at once one gets it', async () => {
    const people = [await verified(), await verified(), await verified()]
    const tokens: string[] = []
    for (const one of people) tokens.push(await askFor(one, 'shared@example.org'))
    const done = await Promise.allSettled(tokens.map((token) => use('confirm', token)))
    expect(done.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  test('a newer wish ends the older one', async () => {
    const ann = await verified()
    const first = await askFor(ann, 'first@example.org')
    const second = await askFor(ann, 'second@example.org')
    expect(await world.refused(use('confirm', first))).toBe('invalid_link')
    await use('confirm', second)
  })

  test('links that wait in the old mailbox end with the change', async () => {
    const ann = await newcomer()
    await world.call('auth.password.forgot', null, { email: ann.email })
    await workOff(world.kernel)
    const reset = mail.to(ann.email).at(-1)?.token as string
    await use('confirm', await askFor(ann, `new-${ann.email}`))
    const fields = { token: reset, password: 'a password of somebody else' }
    expect(await world.refused(world.call('auth.password.reset', null, fields))).toBe(
      'invalid_link',
    )
    expect(await world.refused(use('verify', ann.verifyToken))).toBe('invalid_link')
  })

  test('one’s own address is no change', async () => {
    const { actor, email } = await verified()
    const input = { email: email.toUpperCase(), password }
    expect(await world.refused(world.call('auth.email.change', actor, input))).toBe('conflict')
  })
})

describe('taking a change back', () => {
  test('gives the account to whoever reads the old mailbox, and to nobody else', async () => {
    const ann = await verified()
    const revert = await change(ann, 'thief@example.org')
    const [notice] = mail.to(ann.email)
    expect(notice).toMatchObject({ page: 'revert-email' })
    expect(notice?.text).toContain('thief@example.org')
    const thief = await login('thief@example.org')
    mail.clear()

    await use('revert', revert)
    await workOff(world.kernel)
    const [account] = await world.kernel.db.sql`
      select email, password_hash from users where id = ${ann.user.id}`
    expect(account).toMatchObject({ email: ann.email, password_hash: null })
    for (const token of [thief.token, ann.token]) {
      expect(() => world.authenticator.verify(token)).toThrow('Session revoked')
    }
    expect(await world.refused(login(ann.email))).toBe('invalid_credentials')
    const told = mail.to('thief@example.org')
    expect(told.map(({ parsed }) => parsed.subject)).toContain(
      'The change of your address was taken back',
    )
    expect(told.every(({ page }) => page === '')).toBe(true)
    const reset = mail.to(ann.email).find(({ page }) => page === 'reset-password')
    await world.call('auth.password.reset', null, {
      token: reset?.token,
      password: 'a password that nobody knows',
    })
    await login(ann.email, 'a password that nobody knows')
    expect(await auditOf(ann.user.id)).toContain('auth.email_reverted')
  })

  test('a thief who changes the address twice cannot take the taking-back back', async () => {
    const ann = await verified()
    const owners = await change(ann, 'thief-1@example.org')
    const thief = { ...ann, email: 'thief-1@example.org' }
    const thiefs = await change(thief, 'thief-2@example.org')
    expect(thiefs).toMatch(/^[\w-]{43}$/)
    const pending = await askFor(thief, 'thief-3@example.org')
    await use('revert', owners)
    for (const [name, token] of [
      ['revert', thiefs],
      ['confirm', pending],
    ] as const) {
      expect(await world.refused(use(name, token))).toBe('invalid_link')
    }
    const rows = await world.kernel.db.sql`
      select email from previous_addresses where user_id = ${ann.user.id}`
    expect([...rows]).toEqual([])
  })

  test('nobody else can have the old address as long as it can be taken back', async () => {
    const ann = await verified()
    const revert = await change(ann, `gone-${ann.email}`)
    const other = await verified()
    // As a thief would, to keep it from its owner: by registering, and by changing to it.
    const again = { email: ann.email.toUpperCase(), password }
    expect(await world.refused(world.call('auth.register', null, again))).toBe('already_exists')
    await askFor(other, ann.email)
    expect(mail.to(ann.email).filter(({ page }) => page === 'confirm-email')).toEqual([])
    await use('revert', revert)
  })

  test('nor take it at the very moment of the change', async () => {
    for (let round = 0; round < 8; round++) {
      const ann = await verified()
      const token = await askFor(ann, `moved-${ann.email}`)
      const thief = { email: ann.email, username: `thief-${round}`, password }
      const [changed, registered] = await Promise.allSettled([
        use('confirm', token),
        world.call('auth.register', null, thief),
      ])
      expect(changed.status).toBe('fulfilled')
      expect(registered).toMatchObject({ status: 'rejected', reason: { code: 'already_exists' } })
    }
  })

  test('is possible for three days; after that the address is free again', async () => {
    const [ann, bob] = [await verified(), await verified()]
    const [early, late] = [await change(ann, 'early@example.org'), await change(bob, 'late@b.org')]
    clock.jump(3 * DAY_MS - 1_000)
    await use('revert', early)
    clock.jump(1_000)
    expect(await world.refused(use('revert', late))).toBe('invalid_link')
    expect(
      await world.refused(world.call('auth.register', null, { email: bob.email, password })),
    ).toBe('already_exists')
    clock.jump(HOUR_MS)
    await world.call('auth.register', null, { email: bob.email, password })
  })

  test('an address that was never verified may be a stranger’s, who must not get in', async () => {
    const typo = await newcomer()
    const { length } = mail.to(typo.email)
    await use('confirm', await askFor(typo, `right-${typo.email}`))
    await workOff(world.kernel)
    expect(mail.to(typo.email)).toHaveLength(length)
    await world.call('auth.register', null, { email: typo.email, password })
  })

  test('a blocked account is not opened by it', async () => {
    const ann = await verified()
    const revert = await change(ann, `blocked-${ann.email}`)
    await world.kernel.db.sql`update users set blocked_at = now() where id = ${ann.user.id}`
    expect(await world.refused(use('revert', revert))).toBe('forbidden')
    await world.kernel.db.sql`update users set blocked_at = null where id = ${ann.user.id}`
    await use('revert', revert)
  })
})
