import { afterAll, beforeAll, expect, test } from 'bun:test'
import { authFeature, closeUnverified } from '../../src/auth/index.ts'
import { register } from '../../src/auth/sign-in/operations.ts'
import { testClock } from '../../src/base/clock.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { auditTrail } from '../support/audit.ts'
import { workOff } from '../support/jobs.ts'
import { testKernel } from '../support/kernel.ts'
import { type MailServer, mailServer } from '../support/mail.ts'
import { identity, password } from './setup.ts'

const DAY_MS = 86_400_000

const clock = testClock()
let mail: MailServer
let world: Awaited<ReturnType<typeof identity>>
beforeAll(async () => {
  mail = await mailServer()
  world = await identity({ env: mail.env, clock })
})
afterAll(async () => {
  await world.close()
  await mail.close()
})

/** Whether the address of a closed account can be taken again. */
const isFree = async (email: string) => {
  const [row] = await world.kernel.db.sql`
    select count(*)::int as taken from users where email = ${email}`
  return row.taken === 0
}
async function after(ms: number) {
  clock.jump(ms)
  const expected = await closeUnverified.dryRun?.(world.kernel)
  const report = await closeUnverified.run(world.kernel)
  // What is announced is what happens.
  expect(report).toEqual(expected as never)
  await workOff(world.kernel)
  return report
}
/** As every client that is opened does. */
const used = (userId: string) =>
  world.kernel.db.sql`update sessions set last_used_at = ${clock.date()} where user_id = ${userId}`

test('who never comes back is reminded once, and leaves the name free after a month', async () => {
  const gone = await world.person('gone')
  const confirmed = await world.person('confirmed')
  const active = await world.person('active')
  const talkative = await world.person('talkative')
  const admin = await world.person('admin-to-be')
  const blocked = await world.person('blocked')
  const mailbox = await world.person('no-mailbox')
  const { sql } = world.kernel.db
  await sql`update users set email_verified_at = now() where id = ${confirmed.user.id}`
  await sql`update users set roles = '{user,admin}' where id = ${admin.user.id}`
  await sql`update users set blocked_at = now() where id = ${blocked.user.id}`
  await sql`update users set email_refused_at = ${clock.date()} where id = ${mailbox.user.id}`
  const [low, high] = [talkative.user.id, confirmed.user.id].toSorted()
  await sql`
    insert into conversations (id, user_a, user_b)
    values (${crypto.randomUUID()}, ${low}, ${high})`
  await workOff(world.kernel)
  mail.clear()

  expect(await after(3 * DAY_MS)).toEqual({ reminded: 0, closed: 0 })
  expect(await after(1)).toEqual({ reminded: 4, closed: 0 })
  const [reminder] = mail.to('gone@example.org')
  expect(reminder).toMatchObject({ page: 'verify-email' })
  expect(reminder?.text).toContain('31 January 2026')
  for (const name of ['confirmed', 'blocked', 'no-mailbox']) {
    expect(mail.to(`${name}@example.org`)).toEqual([])
  }
  await used(active.user.id)
  expect(await after(20 * DAY_MS)).toEqual({ reminded: 0, closed: 0 })
  expect(await after(7 * DAY_MS - 1)).toEqual({ reminded: 0, closed: 0 })
  // Who has no mailbox could not be reminded; the other has had 27 days since.
  expect(await after(1)).toEqual({ reminded: 0, closed: 1 })
  expect(await after(1)).toEqual({ reminded: 0, closed: 1 })
  expect(await after(60 * DAY_MS)).toEqual({ reminded: 0, closed: 0 })
  expect(await isFree('gone@example.org')).toBe(true)
  for (const name of ['confirmed', 'active', 'talkative', 'admin-to-be', 'blocked']) {
    expect(await isFree(`${name}@example.org`)).toBe(false)
  }
  const lines = await auditTrail(world, 'auth.unverified_account_closed')
  expect(new Set(lines.map(({ target_id }) => target_id))).toEqual(
    new Set([gone.user.id, mailbox.user.id]),
  )
  expect(mail.received).toHaveLength(4)
})

test('the link of the reminder verifies', async () => {
  await world.person('late')
  await after(4 * DAY_MS)
  const token = mail.to('late@example.org').at(-1)?.token
  await world.call('auth.email.verify', null, { token })
  expect(await after(60 * DAY_MS)).toEqual({ reminded: 0, closed: 0 })
})

test('an old account, as after an update, is reminded before anything else', async () => {
  const { user } = await world.person('old')
  await world.kernel.db.sql`
    update users set created_at = created_at - interval '2 years' where id = ${user.id}`
  await world.kernel.db.sql`
    update sessions set last_used_at = last_used_at - interval '2 years' where user_id = ${user.id}`
  expect(await after(0)).toEqual({ reminded: 1, closed: 0 })
  expect(await after(26 * DAY_MS)).toEqual({ reminded: 0, closed: 0 })
  expect(await after(DAY_MS + 1)).toEqual({ reminded: 0, closed: 1 })
})

test('three instances at once remind and close each account once', async () => {
  for (let i = 0; i < 5; i++) await world.person(`crowd-${i}`)
  await workOff(world.kernel)
  const together = async (ms: number) => {
    clock.jump(ms)
    const runs = await Promise.all([1, 2, 3].map(() => closeUnverified.run(world.kernel)))
    await workOff(world.kernel)
    const sum = (name: string) =>
      runs.reduce((total, report) => total + ((report ?? {})[name] ?? 0), 0)
    return { reminded: sum('reminded'), closed: sum('closed') }
  }
  expect(await together(4 * DAY_MS)).toEqual({ reminded: 5, closed: 0 })
  expect(mail.to('crowd-0@example.org')).toHaveLength(2)
  expect(await together(40 * DAY_MS)).toEqual({ reminded: 0, closed: 5 })
})

test('whoever confirms at the moment of closing keeps the account', async () => {
  await world.person('moment')
  await after(4 * DAY_MS)
  clock.jump(3 * DAY_MS - 1)
  const token = mail.to('moment@example.org').at(-1)?.token
  await world.kernel.db.sql`
    update users set created_at = created_at - interval '40 days',
      verification_reminded_at = verification_reminded_at - interval '40 days'
    where email = 'moment@example.org'`
  await world.kernel.db.sql`
    update sessions s set last_used_at = s.created_at - interval '40 days'
    from users u where u.id = s.user_id and u.email = 'moment@example.org'`
  const [verified] = await Promise.allSettled([
    world.call('auth.email.verify', null, { token }),
    closeUnverified.run(world.kernel),
  ])
  // Whoever was first; never a closed account whose owner was told that it is verified.
  expect(await isFree('moment@example.org')).toBe(verified.status === 'rejected')
})

test('where mail is off nobody is closed for not confirming', async () => {
  const silent = await testKernel({ clock, features: [authFeature] })
  try {
    await silent.executor.execute(register, {
      actor: null,
      request: internalRequest('r1'),
      input: { email: 'x@example.org', password },
    })
    for (const days of [4, 40]) {
      clock.jump(days * DAY_MS)
      expect(await closeUnverified.run(silent.kernel)).toEqual({ reminded: 0, closed: 0 })
    }
    const [row] = await silent.kernel.db.sql`select count(*)::int as jobs from queue_jobs`
    expect(row.jobs).toBe(0)
  } finally {
    await silent.close()
  }
})
