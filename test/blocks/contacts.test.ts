import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type ContactChange, Contacts } from '../../src/blocks/index.ts'
import type { Actor } from '../../src/kernel/access.ts'
import { Conversations } from '../../src/messaging/conversations.ts'
import { findPair } from '../../src/messaging/pairs.ts'
import { administration } from '../admin/setup.ts'

/** Two instances that only the database joins, with pollings as the test wants them. */
let here: Awaited<ReturnType<typeof administration>>
let there: Awaited<ReturnType<typeof administration>>
beforeAll(async () => {
  here = await administration()
  there = await administration({ database: here.database })
})
afterAll(async () => {
  await there.close()
  await here.close()
})

let count = 0
/** Two people with a conversation. */
async function pair() {
  count++
  const [one, other] = [await here.person(`one${count}`), await here.person(`other${count}`)]
  const [a, b] = [one.user.id, other.user.id].toSorted()
  await here.kernel.db.sql`
    insert into conversations (id, user_a, user_b) values (${crypto.randomUUID()}, ${a}, ${b})`
  return { one: one.actor, other: other.actor }
}
const block = (who: Actor, whom: Actor) => here.call('blocks.add', who, { user_id: whom.userId })

test('a block that commits late is heard of, where a cursor by number has passed it', async () => {
  const contacts = there.kernel.use(Contacts)
  const heard: ContactChange[] = []
  const end = contacts.onChanged((changes) => {
    if (changes !== 'all') heard.push(...changes)
  })
  await contacts.poll()
  const { one, other } = await pair()
  const early = await pair()
  const { sql } = here.kernel.db
  let cursor = 0
  const bySequence = async () => {
    const rows = await sql`
      select number::float8 as number from contact_changes where number > ${cursor} order by number`
    cursor = (rows.at(-1)?.number as number | undefined) ?? cursor
    return rows.length
  }
  await bySequence()
  await here.kernel.db.transaction(async (tx) => {
    await tx.sql`
      insert into contact_changes (user_id, other_id) values (${one.userId}, ${other.userId})`
    // Begun later, committed earlier.
    await block(early.one, early.other)
    await contacts.poll()
    expect(await bySequence()).toBe(1)
  })
  expect(heard).toMatchObject([{ userId: early.one.userId }])
  await contacts.poll()
  expect(heard.map(({ userId }) => userId)).toEqual([early.one.userId, one.userId])
  // The control.
  expect(await bySequence()).toBe(0)
  // And not again.
  await contacts.poll()
  expect(heard.length).toBe(2)
  end()
})

test('a pair that was read before a block is not remembered after it', async () => {
  const { one, other } = await pair()
  const table = there.kernel.use(Conversations)
  const contacts = there.kernel.use(Contacts)
  await contacts.poll()
  const age = table.age()
  const read = await findPair(there.kernel.db.sql, one.userId, other.userId)
  if (read === undefined) throw new Error('no pair')
  await block(one, other)
  await contacts.poll()
  // A batch that began before comes to its end only now.
  table.remember([read], age)
  expect(table.between(one.userId, other.userId)).toBeUndefined()
  // The control: who does not look at the age lets the blocked person write until the next start.
  table.remember([read], table.age())
  const stale = table.between(one.userId, other.userId)
  expect(stale?.a.blocks === false && stale.b.blocks === false).toBe(true)
  await here.call('blocks.remove', one, { user_id: other.userId })
  await contacts.poll()
  expect(table.between(one.userId, other.userId)).toBeUndefined()
})

test('after the database was away everything is read anew', async () => {
  const { one, other } = await pair()
  const table = there.kernel.use(Conversations)
  const contacts = there.kernel.use(Contacts)
  await contacts.poll()
  expect(await table.byUsers(one.userId, other.userId)).toBeDefined()
  // What comes back counts its transactions from lower: restored from a backup.
  const { db } = there.kernel
  const sql = db.sql
  const older = (async (parts: TemplateStringsArray, ...values: never[]) => {
    const rows = await sql(parts, ...values)
    return parts.join('').includes('pg_snapshot_xmin') ? [{ xmin: '3', rows: [] }] : rows
  }) as unknown as typeof sql
  Object.defineProperty(db, 'sql', { value: older, configurable: true, writable: true })
  await contacts.poll()
  Object.defineProperty(db, 'sql', { value: sql, configurable: true, writable: true })
  expect(table.between(one.userId, other.userId)).toBeUndefined()
})

test('a change on this instance is known before it answers', async () => {
  const { one, other } = await pair()
  const table = here.kernel.use(Conversations)
  expect((await table.byUsers(one.userId, other.userId))?.a.blocks).toBe(false)
  await block(one, other)
  expect(table.between(one.userId, other.userId)).toBeUndefined()
  const found = await table.byUsers(one.userId, other.userId)
  expect([found?.a.blocks, found?.b.blocks].filter(Boolean).length).toBe(1)
})
