import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { testClock } from '../../src/base/clock.ts'
import type { Actor } from '../../src/kernel/access.ts'
import { forgetOldReports } from '../../src/reports/index.ts'
import { administration } from '../admin/setup.ts'
import { password } from '../auth/setup.ts'
import { auditTrail } from '../support/audit.ts'

interface Report {
  readonly id: string
  readonly reported_id: string
  readonly reporter_id: string
  readonly reason: string
  readonly comment: string | null
  readonly message_ids: string[]
  readonly resolved_by: string | null
  readonly outcome: string | null
}

const clock = testClock(Date.now())
let world: Awaited<ReturnType<typeof administration>>
let root: Actor
let ann: Actor
let bob: Actor
beforeAll(async () => {
  world = await administration({ clock })
  root = await world.admin('root')
  ann = (await world.person('ann')).actor
  bob = (await world.person('bob')).actor
})
afterAll(() => world.close())

const report = (by: Actor, about: Actor, extra: object = {}) =>
  world.call<{ id: string }>('reports.create', by, {
    user_id: about.userId,
    reason: 'spam',
    ...extra,
  })
const list = (input: object = {}, by = root) =>
  world.call<{ items: Report[]; next_cursor: string | null }>('reports.list', by, input)
const resolve = (report_id: string, extra: object = {}) =>
  world.call<Report>('reports.resolve', root, { report_id, outcome: 'warned', ...extra })

/** A message in the tables, as sending leaves it. */
async function message(from: Actor, to: Actor): Promise<string> {
  const { sql } = world.kernel.db
  const [a, b] = [from.userId, to.userId].toSorted()
  await sql`
    insert into conversations (id, user_a, user_b) values (${crypto.randomUUID()}, ${a}, ${b})
    on conflict do nothing`
  const id = crypto.randomUUID()
  await sql`
    insert into messages (conversation, id, sender_id, message_type, created_at)
    select number, ${id}, ${from.userId}, 0, now() from conversations
    where user_a = ${a} and user_b = ${b}`
  return id
}

describe('a report', () => {
  test('names a person, a reason and messages that one had from them', async () => {
    const had = [await message(bob, ann), await message(bob, ann)]
    const comment = 'He writes every minute.\nPlease look.'
    const { id } = await report(ann, bob, { comment, message_ids: had })
    const [found] = (await list({ user_id: bob.userId })).items
    expect(found).toMatchObject({ id, reporter_id: ann.userId, comment, outcome: null })
    expect(found?.message_ids.toSorted()).toEqual(had.toSorted())
    const [line] = await auditTrail(world, 'reports.created')
    expect(line?.after).toEqual({ reported_id: bob.userId, reason: 'spam', messages: 2 })
    // What people say is in no log.
    expect(JSON.stringify(await auditTrail(world))).not.toContain('every minute')
    await resolve(id)
  })

  test('cannot name messages of others: own ones, of third people, or none at all', async () => {
    const { actor: cid } = await world.person('cid')
    const cases = [await message(ann, bob), await message(cid, bob), crypto.randomUUID()]
    const right = await message(bob, ann)
    for (const wrong of cases) {
      const call = report(ann, bob, { reason: 'fraud', message_ids: [right, wrong] })
      expect(await world.refused(call)).toBe('validation_failed')
    }
    expect((await list()).items.filter(({ reason }) => reason === 'fraud')).toEqual([])
  })

  test('is one for each reason while it is open, also for many at the same moment', async () => {
    const calls = Array.from({ length: 6 }, () => report(ann, bob, { reason: 'hate' }))
    const results = await Promise.allSettled(calls)
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1)
    expect(await world.refused(report(ann, bob, { reason: 'hate' }))).toBe('already_exists')
    const other = await report(ann, bob, { reason: 'other' })
    const [open] = (await list({ limit: 100 })).items.filter(({ reason }) => reason === 'hate')
    await resolve(open?.id ?? '')
    // It may happen again.
    await report(ann, bob, { reason: 'hate' })
    expect(other.id).toBeString()
  })

  test('takes no nonsense', async () => {
    for (const extra of [
      { reason: 'boring' },
      { comment: '' },
      { comment: 'x'.repeat(2_001) },
      { comment: 'a\0b' },
      { message_ids: ['x'] },
      { message_ids: Array.from({ length: 51 }, () => crypto.randomUUID()) },
      { content: 'what he wrote' },
    ]) {
      expect(await world.refused(report(ann, bob, extra))).toBe('validation_failed')
    }
    expect(await world.refused(report(ann, ann))).toBe('validation_failed')
    const nobody = { ...bob, userId: crypto.randomUUID() }
    expect(await world.refused(report(ann, nobody))).toBe('not_found')
  })
})

describe('administrators', () => {
  test('see open reports oldest first, in pages that join, and say what came of each', async () => {
    const { actor: dora } = await world.person('dora')
    const { actor: earl } = await world.person('earl')
    const made: string[] = []
    for (const reason of ['spam', 'fraud', 'hate', 'violence', 'other']) {
      made.push((await report(dora, earl, { reason })).id)
    }
    const seen: string[] = []
    let cursor: string | null = null
    do {
      const page: Awaited<ReturnType<typeof list>> = await list({
        user_id: earl.userId,
        limit: 2,
        ...(cursor === null ? {} : { cursor }),
      })
      seen.push(...page.items.map(({ id }) => id))
      cursor = page.next_cursor
    } while (cursor !== null)
    expect(seen).toEqual(made)
    const [first = ''] = made
    const done = await resolve(first, { outcome: 'blocked', note: 'Third time' })
    expect(done).toMatchObject({ outcome: 'blocked', note: 'Third time', resolved_by: root.userId })
    expect(await world.refused(resolve(first))).toBe('conflict')
    expect(await world.refused(resolve(crypto.randomUUID()))).toBe('not_found')
    const resolved = await list({ state: 'resolved', user_id: earl.userId })
    expect(resolved.items.map(({ id }) => id)).toEqual([first])
    const lines = await auditTrail(world, 'reports.resolved')
    expect(lines.at(-1)).toMatchObject({
      actor_id: root.userId,
      target_id: first,
      after: { reported_id: earl.userId, outcome: 'blocked' },
    })
  })

  test('alone see reports: not who wrote them, nor whom they are about', async () => {
    for (const by of [ann, bob]) expect(await world.refused(list({}, by))).toBe('forbidden')
    expect(await world.refused(list({}, { ...root, mfa: false }))).toBe('mfa_required')
    const by = world.call('reports.resolve', bob, {
      report_id: crypto.randomUUID(),
      outcome: 'no_action',
    })
    expect(await world.refused(by)).toBe('forbidden')
  })
})

test('closing an account erases its owner’s words, and ends no report about them', async () => {
  const { actor: mia } = await world.person('mia')
  const { actor: nick } = await world.person('nick')
  await report(mia, nick, { comment: 'My own words' })
  await report(nick, mia, { comment: 'About her' })
  await world.call('auth.close_account', mia, { password })
  expect((await list({ user_id: nick.userId })).items).toMatchObject([{ comment: null }])
  expect((await list({ user_id: mia.userId })).items).toMatchObject([{ comment: 'About her' }])
})

test('a report goes a year after it was resolved, and never while it is open', async () => {
  const { actor: ora } = await world.person('ora')
  const { actor: pit } = await world.person('pit')
  const done = await report(ora, pit, { reason: 'spam' })
  await report(ora, pit, { reason: 'fraud' })
  await resolve(done.id)
  clock.advance(364 * 86_400_000)
  await forgetOldReports.run(world.kernel)
  expect((await list({ state: 'resolved', user_id: pit.userId })).items.length).toBe(1)
  clock.advance(2 * 86_400_000)
  await forgetOldReports.run(world.kernel)
  expect((await list({ state: 'resolved', user_id: pit.userId })).items).toEqual([])
  expect((await list({ user_id: pit.userId })).items.length).toBe(1)
})
