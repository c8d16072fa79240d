import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { testClock } from '../../src/base/clock.ts'
import { type Actor, internalRequest } from '../../src/kernel/access.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { beginRun, finishRun, RunIsOver, storePage } from '../../src/privacy/exports.ts'
import { forgetExports } from '../../src/privacy/index.ts'
import { placeOf } from '../../src/vault/vault.ts'
import { administration } from '../admin/setup.ts'
import { password } from '../auth/setup.ts'
import { auditTrail } from '../support/audit.ts'
import { giveFactor } from '../support/factor.ts'
import { workOff } from '../support/jobs.ts'

interface Export {
  readonly id: string
  readonly state: string
  readonly items: number
  readonly expires_at: string | null
}
interface Item {
  readonly section: string
  readonly item: Record<string, unknown>
}
interface Page {
  readonly items: Item[]
  readonly next_cursor: string | null
}

const DAY_MS = 86_400_000
const clock = testClock(Date.now())
let world: Awaited<ReturnType<typeof administration>>
beforeAll(async () => {
  world = await administration({ clock })
})
afterAll(() => world.close())

const ask = (who: Actor) => world.act<Export>('privacy.export', who, {})
const list = async (who: Actor) =>
  (await world.call<{ items: Export[] }>('privacy.exports', who, {})).items
const page = (who: Actor, export_id: string, cursor?: string) =>
  world.call<Page>('privacy.export_download', who, {
    export_id,
    ...(cursor === undefined ? {} : { cursor }),
  })

/** All of a copy, as a client puts it together. */
async function download(who: Actor, exportId: string): Promise<{ items: Item[]; pages: number }> {
  const items: Item[] = []
  let cursor: string | undefined
  for (let pages = 1; ; pages++) {
    const got = await page(who, exportId, cursor)
    items.push(...got.items)
    if (got.next_cursor === null) return { items, pages }
    cursor = got.next_cursor
  }
}

/** A conversation with `count` messages of both, straight into the tables. */
async function conversation(one: Actor, other: Actor, count: number): Promise<void> {
  const { sql } = world.kernel.db
  const [a, b] = [one.userId, other.userId].toSorted()
  const [row] = await sql`
    insert into conversations (id, user_a, user_b, a_wrote, b_wrote)
    values (${crypto.randomUUID()}, ${a}, ${b}, true, true) returning number::float8 as number`
  await sql`
    insert into messages (conversation, id, sender_id, message_type, created_at)
    select ${row.number}, gen_random_uuid(), case n % 2 when 0 then ${a}::uuid else ${b}::uuid end,
      0, now() from generate_series(1, ${count}) n`
}

describe('a copy of one’s data', () => {
  test('holds what every feature has of them, no secrets, and nothing of others', async () => {
    const { actor, user, token, refresh_token } = await world.person('ann', { name: 'Ann Other' })
    const { actor: bob, user: bobs } = await world.person('bob', { name: 'Bob Private' })
    await conversation(actor, bob, 3)
    await conversation(bob, (await world.person('third')).actor, 5)
    await world.call('blocks.add', actor, { user_id: bob.userId })
    const about = { user_id: bob.userId, reason: 'spam', comment: 'My words' }
    await world.call('reports.create', actor, about)
    await world.call('reports.create', bob, { user_id: user.id, reason: 'fraud', comment: 'His' })
    const asked = await ask(actor)
    expect(asked).toMatchObject({ state: 'pending', items: 0 })
    expect(await world.refused(page(actor, asked.id))).toBe('conflict')
    await workOff(world.kernel)
    const [ready] = await list(actor)
    expect(ready).toMatchObject({ id: asked.id, state: 'ready' })
    const { items } = await download(actor, asked.id)
    expect(items.length).toBe(ready?.items as number)
    const sections = new Set(items.map(({ section }) => section))
    for (const one of [
      'account',
      'second_factor',
      'sessions',
      'devices',
      'conversations',
      'messages',
      'blocks',
      'reports',
    ]) {
      expect(sections).toContain(one)
    }
    expect(items.find(({ section }) => section === 'account')?.item).toMatchObject({
      email: user.email,
      name: 'Ann Other',
    })
    expect(items.filter(({ section }) => section === 'messages').length).toBe(3)
    const all = JSON.stringify(items)
    for (const other of [bobs.email, 'Bob Private', 'His', 'argon2', token, refresh_token]) {
      expect(all).not.toContain(other)
    }
    expect(all).toContain('My words')
    const letters = world.log.entries.filter(({ fields }) => fields['to'] === user.email)
    expect(letters.map(({ fields }) => fields['subject'])).toContain('Your data is ready')
    const trail = await auditTrail(world, 'privacy.')
    expect(trail.map(({ action }) => action)).toEqual([
      'privacy.export_requested',
      'privacy.export_written',
      'privacy.export_downloaded',
    ])
  })

  test('comes in pages, which are sealed and small at rest', async () => {
    const { actor } = await world.person('writer')
    const { actor: other } = await world.person('reader')
    await conversation(actor, other, 20_000)
    const { id } = await ask(actor)
    await workOff(world.kernel)
    const { items, pages } = await download(actor, id)
    const ids = items.filter(({ section }) => section === 'messages').map(({ item }) => item['id'])
    expect(new Set(ids).size).toBe(20_000)
    expect(pages).toBeGreaterThan(20)
    const rows = (await world.kernel.db.sql`
      select id, content from export_pages where export_id = ${id}`) as {
      id: string
      content: Uint8Array
    }[]
    const stored = rows.reduce((sum, { content }) => sum + content.byteLength, 0)
    expect(stored).toBeLessThan(JSON.stringify(items).length / 3)
    for (const { content } of rows) expect(Buffer.from(content).includes('messages')).toBe(false)
    // Bound to its row: swapped by somebody who can write to the table, it does not open.
    const [first, second] = rows
    const place = placeOf('export_pages', 'content', first?.id ?? '')
    expect(() => world.kernel.vault.open(place, second?.content ?? new Uint8Array())).toThrow()
  })

  test('is for its owner alone', async () => {
    const { actor } = await world.person('owner')
    const { actor: thief } = await world.person('thief')
    const { id } = await ask(actor)
    await workOff(world.kernel)
    expect(await world.refused(page(thief, id))).toBe('not_found')
    const remove = world.call('privacy.export_delete', thief, { export_id: id })
    expect(await world.refused(remove)).toBe('not_found')
    expect(await list(thief)).toEqual([])
    expect((await page(actor, id.toUpperCase())).items.length).toBeGreaterThan(0)
    for (const cursor of ['-1', 'x', '1e3', '999999']) {
      expect(await world.refused(page(actor, id, cursor))).toBe('validation_failed')
    }
  })

  test('takes a fresh code of whoever has a second factor', async () => {
    const { actor } = await world.person('secured')
    await giveFactor(world.kernel, actor.userId)
    expect(await world.refused(world.call('privacy.export', actor, {}))).toBe('step_up_required')
    expect(await ask(actor)).toMatchObject({ state: 'pending' })
  })

  test('is one at a time and one a day, also for many requests at once', async () => {
    const { actor } = await world.person('eager')
    const results = await Promise.allSettled(Array.from({ length: 6 }, () => ask(actor)))
    expect(results.filter(({ status }) => status === 'fulfilled').length).toBe(1)
    expect(await world.refused(ask(actor))).toBe('conflict')
    await workOff(world.kernel)
    expect(await world.refused(ask(actor))).toBe('rate_limited')
    const [{ id } = { id: '' }] = await list(actor)
    await world.call('privacy.export_delete', actor, { export_id: id })
    expect(await list(actor)).toEqual([])
    expect(await world.refused(page(actor, id))).toBe('not_found')
    // Deleting it is no way to another one, before or after the cleaning.
    await forgetExports.run(world.kernel)
    expect(await world.refused(ask(actor))).toBe('rate_limited')
    clock.advance(DAY_MS)
    expect(await ask(actor)).toMatchObject({ state: 'pending' })
  })

  test('ends after seven days, with its pages', async () => {
    const { actor } = await world.person('slow')
    const { id } = await ask(actor)
    await workOff(world.kernel)
    clock.advance(7 * DAY_MS - 1)
    await page(actor, id)
    clock.advance(1)
    expect(await world.refused(page(actor, id))).toBe('not_found')
    expect(await list(actor)).toEqual([])
    clock.advance(1)
    // The rule also looks at the database's own clock, which the test cannot move.
    await world.kernel.db.sql`
      update data_exports set created_at = now() - interval '8 days' where id = ${id}`
    await forgetExports.run(world.kernel)
    const left = await world.kernel.db.sql`select from export_pages where export_id = ${id}`
    expect(left.length).toBe(0)
  })

  test('goes with the account, also while it is being written', async () => {
    const { actor } = await world.person('leaver')
    const { id } = await ask(actor)
    const run = await beginRun(world.kernel, id)
    if (run === undefined) throw new Error('no run')
    await storePage(world.kernel, run, 0, '[]')
    await world.call('auth.close_account', actor, { password })
    expect(await failureOf(storePage(world.kernel, run, 1, '[]'))).toBeInstanceOf(RunIsOver)
    await workOff(world.kernel)
    const left = await world.kernel.db.sql`
      select from data_exports e left join export_pages p on p.export_id = e.id
      where e.id = ${id}`
    expect(left.length).toBe(0)
    const dead = await world.kernel.db.sql`
      select from dead_letters where queue = 'privacy.export'`
    expect(dead.length).toBe(0)
  })
})

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => undefined,
    (error: unknown) => error,
  )
}

describe('a try that was given up', () => {
  test('and goes on nevertheless adds nothing to the next one', async () => {
    const { actor } = await world.person('twice')
    const { id } = await ask(actor)
    const [lost, next] = [await beginRun(world.kernel, id), await beginRun(world.kernel, id)]
    if (lost === undefined || next === undefined) throw new Error('no run')
    await storePage(world.kernel, next, 0, '[{"section":"a","item":{}}]')
    const late = storePage(world.kernel, lost, 1, '[{"section":"late","item":{}}]')
    expect(await failureOf(late)).toBeInstanceOf(RunIsOver)
    const by = { actor: null, request: internalRequest('test') }
    const end = (run: typeof next) => unitOfWork(world.kernel, by, (ctx) => finishRun(ctx, run, 1))
    expect(await failureOf(end(lost))).toBeInstanceOf(RunIsOver)
    await end(next)
    expect((await download(actor, id)).items.map(({ section }) => section)).toEqual(['a'])
    // And the job itself finds nothing left to do.
    await workOff(world.kernel)
    expect((await list(actor)).map(({ state }) => state)).toEqual(['ready'])
  })

  test('for good is said to have failed, and another may be asked for', async () => {
    const { actor } = await world.person('unlucky')
    const { id } = await ask(actor)
    // Its server died in every try: nobody is left to say so.
    await world.kernel.db.sql`delete from queue_jobs where queue = 'privacy.export'`
    expect(await world.refused(ask(actor))).toBe('conflict')
    clock.advance(DAY_MS)
    const again = await ask(actor)
    const states = Object.fromEntries((await list(actor)).map((one) => [one.id, one.state]))
    expect(states).toEqual({ [id]: 'failed', [again.id]: 'pending' })
    await workOff(world.kernel)
    expect((await list(actor)).map(({ state }) => state)).toContain('ready')
  })
})
