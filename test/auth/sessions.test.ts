import { afterAll, beforeAll, expect, test } from 'bun:test'
import { TICKET_TTL_MS } from '../../src/auth/sessions/tickets.ts'
import type { Session, SignedIn } from '../../src/auth/shapes.ts'
import { testClock } from '../../src/base/clock.ts'
import type { Actor } from '../../src/kernel/access.ts'
import { identity, password } from './setup.ts'

const clock = testClock()
let world: Awaited<ReturnType<typeof identity>>
beforeAll(async () => {
  world = await identity({ clock })
})
afterAll(() => world.close())

interface Page {
  readonly items: Session[]
  readonly next_cursor: string | null
}
const sessionsOf = (actor: Actor, input: object = {}) =>
  world.call<Page>('auth.sessions', actor, input)
const revoke = (actor: Actor, session_id: string) =>
  world.call('auth.sessions.revoke', actor, { session_id })
async function signIn(email: string): Promise<Actor> {
  const { token } = await world.call<SignedIn>('auth.login', null, { email, password })
  return world.authenticator.verify(token)
}
const isIn = (token: string) => {
  try {
    world.authenticator.verify(token)
    return true
  } catch {
    return false
  }
}

test('one sees one’s own sessions, newest first, and which of them asks', async () => {
  const { actor, user } = await world.person('ann')
  await world.person('bob')
  clock.advance(1_000)
  const phone = await signIn(user.email)
  const { items } = await sessionsOf(actor)
  expect(items.map(({ id }) => id)).toEqual([phone.sessionId, actor.sessionId])
  expect(items.map(({ current }) => current)).toEqual([false, true])
  expect(items[0]).toMatchObject({
    user_agent: 'test device',
    created_at: clock.date().toISOString(),
    last_used_at: clock.date().toISOString(),
  })
})

test('pages of sessions join without gap or repetition', async () => {
  const { actor, user } = await world.person('pager')
  const all = [actor.sessionId]
  for (let i = 0; i < 4; i++) all.unshift((await signIn(user.email)).sessionId)
  const seen: string[] = []
  let cursor: string | null | undefined
  do {
    const page = await sessionsOf(actor, { limit: 2, ...(cursor ? { cursor } : {}) })
    seen.push(...page.items.map(({ id }) => id))
    cursor = page.next_cursor
  } while (cursor !== null)
  expect(seen).toEqual(all)
  expect(await world.refused(sessionsOf(actor, { cursor: 'x' }))).toBe('validation_failed')
})

test('a session that can no longer be refreshed is not listed', async () => {
  const { user } = await world.person('absent')
  clock.advance(world.kernel.config.jwt.refreshTtlMs)
  const now = await signIn(user.email)
  expect((await sessionsOf(now)).items.map(({ id }) => id)).toEqual([now.sessionId])
})

test('ending a session of one’s own ends that one only', async () => {
  const { actor, token, user } = await world.person('ender')
  const phone = await signIn(user.email)
  expect(await revoke(phone, actor.sessionId)).toEqual({
    session_id: actor.sessionId,
    revoked: true,
  } as never)
  expect(isIn(token)).toBe(false)
  expect(world.revoked.filter((id) => id === actor.sessionId)).toHaveLength(1)
  expect((await sessionsOf(phone)).items).toHaveLength(1)
  // Again changes nothing and is no error: the answer may have been lost.
  await revoke(phone, actor.sessionId)
  expect(world.revoked.filter((id) => id === actor.sessionId)).toHaveLength(1)
})

test('a session of somebody else is as one that does not exist', async () => {
  const [ann, eve] = [await world.person('ann2'), await world.person('eve')]
  expect(await world.refused(revoke(eve.actor, ann.session_id))).toBe('not_found')
  expect(await world.refused(revoke(eve.actor, crypto.randomUUID()))).toBe('not_found')
  expect(await world.refused(revoke(eve.actor, 'x'))).toBe('validation_failed')
  expect(isIn(ann.token)).toBe(true)
})

test('signing out ends this session, or every one', async () => {
  const { actor, token, user, refresh_token } = await world.person('leaver')
  const [phone, tablet] = [await signIn(user.email), await signIn(user.email)]
  expect(await world.call('auth.logout', actor, {})).toEqual({ revoked: 1 } as never)
  expect(isIn(token)).toBe(false)
  const refresh = world.call('auth.refresh', null, { refresh_token })
  expect(await world.refused(refresh)).toBe('session_revoked')
  expect((await sessionsOf(phone)).items).toHaveLength(2)
  expect(await world.call('auth.logout', phone, { all: true })).toEqual({ revoked: 2 } as never)
  expect(world.authenticator.isRevoked(tablet.sessionId)).toBe(true)
  const rows = await world.kernel.db.sql`
    select revoked_reason from sessions where user_id = ${user.id} order by id`
  const reasons = rows.map((row: { revoked_reason: string }) => row.revoked_reason)
  expect(reasons).toEqual(['logout', 'logout_all', 'logout_all'])
})

const ticketOf = async (actor: Actor) =>
  (await world.call<{ ticket: string; expires_at: string }>('auth.ticket', actor, {})).ticket

test('a ticket opens one socket as the actor who asked for it', async () => {
  const { actor } = await world.person('ticketed')
  const ticket = await ticketOf(actor)
  expect(await world.authenticator.redeemTicket(ticket)).toEqual(actor)
  expect(await world.refused(world.authenticator.redeemTicket(ticket))).toBe('unauthenticated')
})

test('of 20 who present a ticket at once, one gets in', async () => {
  const ticket = await ticketOf((await world.person('crowd')).actor)
  const outcomes = await Promise.allSettled(
    Array.from({ length: 20 }, () => world.authenticator.redeemTicket(ticket)),
  )
  expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
})

test('a ticket is good for 30 s', async () => {
  const { actor } = await world.person('late')
  const [soon, late] = [await ticketOf(actor), await ticketOf(actor)]
  clock.advance(TICKET_TTL_MS - 1)
  await world.authenticator.redeemTicket(soon)
  clock.advance(1)
  expect(await world.refused(world.authenticator.redeemTicket(late))).toBe('unauthenticated')
  expect(await world.refused(world.authenticator.redeemTicket('x'))).toBe('unauthenticated')
})

test('tickets made from tickets end with the access token of the first', async () => {
  const { actor } = await world.person('chain')
  let current = actor
  for (let i = 0; i < 3; i++) {
    clock.advance(20_000)
    current = await world.authenticator.redeemTicket(await ticketOf(current))
  }
  expect(current.expiresAtMs).toBe(actor.expiresAtMs)
  clock.jump(actor.expiresAtMs - clock.now() - 1_000)
  const last = await ticketOf(current)
  clock.advance(1_000)
  expect(await world.refused(world.authenticator.redeemTicket(last))).toBe('token_expired')
})

test('a ticket of a revoked session opens nothing, on any instance', async () => {
  const { actor } = await world.person('revoked')
  const [here, there] = [await ticketOf(actor), await ticketOf(actor)]
  await world.call('auth.logout', actor, {})
  expect(await world.refused(world.authenticator.redeemTicket(here))).toBe('session_revoked')
  const other = await identity({ clock, database: world.database })
  expect(await world.refused(other.authenticator.redeemTicket(there))).toBe('session_revoked')
  await other.close()
})
