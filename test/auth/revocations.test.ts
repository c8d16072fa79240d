import type { SQL } from 'bun'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { createRevocations } from '../../src/auth/sessions/revocations.ts'
import { systemClock, testClock } from '../../src/base/clock.ts'
import { uuidv7 } from '../../src/base/ids.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'
import { identity } from './setup.ts'

let world: Awaited<ReturnType<typeof identity>>
let sql: SQL
beforeAll(async () => {
  world = await identity()
  sql = world.kernel.db.sql
})
afterAll(() => world.close())

const insert = async (id: string, on: SQL = sql) => {
  await on`insert into session_revocations (session_id) values (${id})`
}

/** The kernel with some of its parts replaced. */
const kernelWith = (parts: Partial<Kernel>): Kernel => ({ ...world.kernel, ...parts })

async function until(condition: () => boolean, deadlineMs: number): Promise<number> {
  const startMs = performance.now()
  while (!condition()) {
    if (performance.now() - startMs > deadlineMs) throw new Error(`not within ${deadlineMs} ms`)
    await systemClock.sleep(5)
  }
  return performance.now() - startMs
}

test('a logout on one instance bites on another within a second, without a broker', async () => {
  const other = await identity({ database: world.database })
  const stop = await other.authenticator.start()
  try {
    const { token, actor } = await world.person('ann')
    expect(other.authenticator.verify(token)).toEqual(actor)
    const told: string[] = []
    other.authenticator.onRevoked((ids) => void told.push(...ids))
    await world.call('auth.logout', actor, {})
    // Here at once; there by the poll alone, since the announcement of this test goes nowhere.
    expect(() => world.authenticator.verify(token)).toThrow('Session revoked')
    expect(world.revoked).toContain(actor.sessionId)
    await until(() => other.authenticator.isRevoked(actor.sessionId), 2_000)
    expect(() => other.authenticator.verify(token)).toThrow('Session revoked')
    expect(told).toEqual([actor.sessionId])
  } finally {
    await stop()
    await other.close()
  }
})

test('an announcement of another instance is quicker, and told once', () => {
  const revocations = createRevocations(world.kernel)
  const told: string[][] = []
  const stop = revocations.onRevoked((ids) => void told.push([...ids]))
  const [a, b, c] = [uuidv7(), uuidv7(), uuidv7()]
  revocations.apply([a, b])
  revocations.apply([b, c])
  expect(told).toEqual([[a, b], [c]])
  stop()
  revocations.apply([uuidv7()])
  expect(told).toHaveLength(2)
})

/** Commits a revocation late: inserted before another one that is committed and polled first. */
async function commitLate(late: string, early: string, between: () => Promise<void>) {
  await using connection = await sql.reserve()
  await connection`begin`
  await insert(late, connection)
  await insert(early)
  await between()
  await connection`commit`
}

test('a revocation that commits late is not skipped', async () => {
  const revocations = createRevocations(world.kernel)
  await revocations.poll()
  const [late, early] = [uuidv7(), uuidv7()]
  await commitLate(late, early, async () => {
    await revocations.poll()
    await revocations.poll()
    expect(revocations.has(early)).toBe(true)
    expect(revocations.has(late)).toBe(false)
  })
  await revocations.poll()
  expect(revocations.has(late)).toBe(true)
})

test('control: a cursor of time, or of the newest transaction, skips it', async () => {
  const found = new Set<string>()
  let since = new Date(0)
  let newest = '0'
  const naivePoll = async () => {
    const byTime = await sql`
      select session_id, revoked_at from session_revocations where revoked_at > ${since}`
    const byXact = await sql`
      select session_id, xact::text from session_revocations where xact > ${newest}::text::xid8`
    for (const row of byTime) {
      found.add(`time ${row.session_id}`)
      if (row.revoked_at > since) since = row.revoked_at
    }
    for (const row of byXact) {
      found.add(`xact ${row.session_id}`)
      if (BigInt(row.xact) > BigInt(newest)) newest = row.xact
    }
  }
  await naivePoll()
  const [late, early] = [uuidv7(), uuidv7()]
  await commitLate(late, early, async () => {
    await systemClock.sleep(5)
    await naivePoll()
  })
  await naivePoll()
  expect(found.has(`time ${early}`) && found.has(`xact ${early}`)).toBe(true)
  expect(found.has(`time ${late}`) || found.has(`xact ${late}`)).toBe(false)
})

test('an instance that starts knows what was revoked before it', async () => {
  const { token, actor } = await world.person('early')
  await world.call('auth.logout', actor, {})
  const [recent, old] = [actor.sessionId, uuidv7()]
  await insert(old)
  await sql`
    update session_revocations set revoked_at = now() - interval '1 day' where session_id = ${old}`
  const restarted = await identity({ database: world.database })
  const stop = await restarted.authenticator.start()
  try {
    expect(() => restarted.authenticator.verify(token)).toThrow('Session revoked')
    expect(restarted.authenticator.isRevoked(recent)).toBe(true)
    // No access token is as old as that.
    expect(restarted.authenticator.isRevoked(old)).toBe(false)
  } finally {
    await stop()
    await restarted.close()
  }
})

test('what is known is forgotten when the last access token of its session has ended', async () => {
  const clock = testClock()
  const revocations = createRevocations(kernelWith({ clock }))
  const id = uuidv7()
  revocations.apply([id])
  clock.advance(world.kernel.config.jwt.accessTtlMs)
  await revocations.poll()
  expect(revocations.has(id)).toBe(true)
  clock.advance(5 * 60_000)
  await revocations.poll()
  expect(revocations.has(id)).toBe(false)
})

test('without the database what is known stays, and one error is logged', async () => {
  let away = false
  const flaky = ((...args: Parameters<SQL>) => {
    if (away) return Promise.reject(new Error('connection refused'))
    return sql(...args)
  }) as unknown as SQL
  const revocations = createRevocations(kernelWith({ db: { ...world.kernel.db, sql: flaky } }))
  const logged = () =>
    world.log.entries.filter(({ message }) => message.startsWith('revocations')).map((e) => e.level)
  const before = uuidv7()
  await insert(before)
  const stop = await revocations.start()
  try {
    away = true
    await until(() => logged().length > 0, 2_000)
    await systemClock.sleep(1_000)
    expect(revocations.has(before)).toBe(true)
    const during = uuidv7()
    await insert(during)
    expect(revocations.has(during)).toBe(false)
    away = false
    await until(() => revocations.has(during), 2_000)
    expect(logged()).toEqual(['error', 'info'])
  } finally {
    await stop()
  }
})

test('a database restored from a backup, which counts from lower, is read by time', async () => {
  const readings = [
    { xmin: '5000', ids: ['a'] },
    { xmin: '100', ids: [] },
    { xmin: '100', ids: ['b'] },
  ]
  const asked: string[] = []
  const restored = ((text: TemplateStringsArray) => {
    asked.push(text.join('?').includes('xact') ? 'since' : 'recent')
    return Promise.resolve([readings.shift()])
  }) as unknown as SQL
  const revocations = createRevocations(kernelWith({ db: { ...world.kernel.db, sql: restored } }))
  await revocations.poll()
  await revocations.poll()
  expect(asked).toEqual(['recent', 'since', 'recent'])
  expect(revocations.has('b')).toBe(true)
})

test('a life of thirty days is no number too big for the query', async () => {
  const long = await identity({ database: world.database, env: { JWT_ACCESS_EXPIRES: '30d' } })
  const id = uuidv7()
  await insert(id)
  const stop = await long.authenticator.start()
  expect(long.authenticator.isRevoked(id)).toBe(true)
  await stop()
  await long.close()
})
