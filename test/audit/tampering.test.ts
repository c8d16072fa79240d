import { createHash } from 'node:crypto'
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { SQL } from 'bun'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { encode, GENESIS, type SealedLine } from '../../src/audit/chain.ts'
import { eraseQueue, personalData } from '../../src/audit/erasure.ts'
import { auditFeature } from '../../src/audit/index.ts'
import { Sealer } from '../../src/audit/sealer.ts'
import { systemClock } from '../../src/base/clock.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { type TestKernel, testKernel } from '../support/kernel.ts'
import { asOwner, found, lineAbout, request, verify, writeLines } from './setup.ts'

/**
 * Everything that somebody could do to the log who owns the database, has read this code, and lacks
 * only the key. Thirty lines, a checkpoint after the twentieth.
 */

const ADA = '0198a000-0000-7000-8000-00000000ada0'
const BOB = '0198a000-0000-7000-8000-00000000b0b0'
const LINES = 30
const EXPORTED = 20

let t: TestKernel
beforeEach(async () => {
  t = await testKernel({ features: [auditFeature] })
  await writeLines(t.kernel, EXPORTED, ADA)
  await t.kernel.use(Sealer).checkpoint()
  await writeLines(t.kernel, LINES - EXPORTED, BOB, EXPORTED + 1)
})
afterEach(() => t.close())

const tamper = (work: (sql: SQL) => Promise<unknown>) => asOwner(t.database.ownerUrl, work)

test('an untouched log is undamaged, and the report says what it covers', async () => {
  const report = await verify(t.kernel)
  expect(found(report)).toEqual([])
  expect(report).toMatchObject({
    lines: LINES,
    damages: 0,
    end: { position: LINES },
    personal: { checked: 2 * LINES, erased: 0 },
    checkpoints: { compared: 1, overruled: 0 },
  })
})

describe('an edit is found', () => {
  test.each([
    ['action', `'tests.denied'`],
    ['outcome', `'denied'`],
    ['actor_kind', `'user'`],
    ['actor_id', `'${BOB}'`],
    ['actor_id', 'null'],
    ['session_id', `'${BOB}'`],
    ['target_type', `'user'`],
    ['target_id', `'thing-8'`],
    ['transport', `'socket'`],
    ['request_id', `'another'`],
    ['id', `gen_random_uuid()`],
    ['at', `at + interval '1 millisecond'`],
    ['before', `'{"n":5}'`],
    ['before', 'null'],
    ['after', `'{"n":7,"text":"the 8th","amount":7.1}'`],
    // The same value in another spelling: not what was written either.
    ['after', `'{"n": 7,"text":"the 7th","amount":7.1}'`],
    ['subject_id', `'${BOB}'`],
    ['origin_digest', `sha256('x')`],
    ['personal_digest', 'null'],
    ['key_id', `'00000000'`],
  ])('of %s to %s', async (column, value) => {
    await tamper((sql) =>
      sql.unsafe(`update audit_log set ${column} = ${value} where position = 7`),
    )
    const report = await verify(t.kernel)
    expect(report.damages).toBeGreaterThan(0)
    expect(report.first[0]?.position).toBe(7)
  })

  test('of the hash, at the line whose hash it is and at the next', async () => {
    await tamper((sql) => sql`update audit_log set hash = sha256('x') where position = 7`)
    expect(found(await verify(t.kernel))).toEqual(['7 changed', '8 changed'])
  })
})

describe('what is not where it was is found', () => {
  test.each([
    ['a line deleted', 'delete from audit_log where position = 7', '7 missing'],
    ['many lines deleted', 'delete from audit_log where position between 7 and 12', '7 missing'],
    ['the first lines deleted', 'delete from audit_log where position < 4', '1 missing'],
    [
      'the gap closed again',
      `delete from audit_log where position = 7;
       update audit_log set position = position + 10000 where position > 7;
       update audit_log set position = position - 10001 where position > 10000`,
      '7 changed',
    ],
    [
      'two lines exchanged',
      `update audit_log set position = 31 - position + 10000 where position in (7, 24);
       update audit_log set position = position - 10000 where position > 10000`,
      '7 changed',
    ],
    [
      'a line from elsewhere in the place of another',
      `delete from audit_log where position = 7;
       update audit_log set position = 7 where position = 24`,
      '7 changed',
    ],
    [
      'a line repeated at the end',
      `insert into audit_log select 31, sealed_at, key_id, id, at, actor_kind, actor_id, session_id,
         action, outcome, target_type, target_id, transport, request_id, before, after, subject_id,
         origin_digest, personal_digest, hash from audit_log where position = 7`,
      '31 changed',
    ],
    [
      'a second line at the same position',
      `insert into audit_log select position, sealed_at + interval '1 ms', key_id,
         gen_random_uuid(), at, actor_kind, actor_id, session_id, 'tests.forged', outcome,
         target_type, target_id, transport, request_id, before, after, subject_id, origin_digest,
         personal_digest, hash from audit_log where position = 7`,
      '7 duplicate',
    ],
  ])('%s', async (_what, statements, damage) => {
    await tamper((sql) => sql.unsafe(statements))
    expect(found(await verify(t.kernel))).toContain(damage)
  })
})

describe('a missing end is found', () => {
  const shorten = (to: number) =>
    tamper((sql) =>
      sql.unsafe(`
        delete from audit_log where position > ${to};
        update audit_head set position = ${to}, hash = coalesce(
          (select hash from audit_log where position = ${to}), decode(repeat('00', 32), 'hex'))`),
    )

  test('by the head, if that was forgotten', async () => {
    await tamper((sql) => sql`delete from audit_log where position > 25`)
    expect(found(await verify(t.kernel))).toEqual(['26 truncated'])
  })

  test('by the checkpoint, if the head was corrected', async () => {
    await shorten(EXPORTED - 1)
    expect(found(await verify(t.kernel))).toEqual([`${EXPORTED} truncated`])
  })

  test('by the checkpoint, if everything was emptied', async () => {
    await tamper((sql) =>
      sql.unsafe(`truncate audit_log, audit_personal;
        update audit_head set position = 0, hash = decode(repeat('00', 32), 'hex')`),
    )
    expect(found(await verify(t.kernel))).toEqual(['1 truncated'])
  })

  test('by the checkpoint, also after others have been sealed in its place', async () => {
    await shorten(10)
    await writeLines(t.kernel, LINES, BOB)
    expect(found(await verify(t.kernel))).toContain(`${EXPORTED} rewritten`)
  })

  test('not beyond the last checkpoint: that much is promised, and no more', async () => {
    await shorten(EXPORTED)
    expect(found(await verify(t.kernel))).toEqual([])
  })

  test('beyond the last checkpoint by the server that sealed it, at its next line', async () => {
    await shorten(EXPORTED)
    await writeLines(t.kernel, 1, ADA)
    const alarms = t.log.entries.filter(({ level }) => level === 'error')
    expect(alarms.map(({ fields }) => fields)).toEqual([
      { position: EXPORTED, known_position: LINES },
    ])
    // And from then on by everybody: what it knew has become a checkpoint.
    expect(found(await verify(t.kernel))).toEqual([`${EXPORTED + 2} truncated`])
  })
})

describe('changed personal data is found', () => {
  test.each([
    [
      'edited',
      `update audit_personal set data = '{"name":"Eve"}' where position = 7 and part = 'personal'`,
    ],
    [
      'with another salt',
      `update audit_personal set salt = '\\x00' where position = 7 and part = 'origin'`,
    ],
    [
      'given to another',
      `update audit_personal set subject_id = '${BOB}' where position = 7 and part = 'origin'`,
    ],
    [
      'deleted without an erasure',
      `delete from audit_personal where position = 7 and part = 'personal'`,
    ],
    [
      'exchanged with another line’s',
      `update audit_personal set position = 10007 where position = 7 and part = 'personal';
       update audit_personal set position = 7 where position = 8 and part = 'personal';
       update audit_personal set position = 8 where position = 10007`,
    ],
  ])('%s', async (_what, statements) => {
    await tamper((sql) => sql.unsafe(statements))
    expect(found(await verify(t.kernel))[0]).toBe('7 personal data')
  })
})

describe('erasing is no damage', () => {
  test('of somebody whose account was closed, once it is on record', async () => {
    await unitOfWork(t.kernel, { actor: null, request: internalRequest('tests') }, async (ctx) => {
      const job = { id: ADA, attempt: 1, enqueuedAtMs: 0 }
      const signal = new AbortController().signal
      await eraseQueue.handle?.({ ...ctx, job, signal }, { subject_id: ADA } as never)
    })
    // Not sealed yet: counts already. Nobody can tell a line from before it was sealed.
    expect(found(await verify(t.kernel))).toEqual([])
    await t.kernel.use(Sealer).seal()
    const report = await verify(t.kernel)
    expect(found(report)).toEqual([])
    expect(report.personal).toEqual({ checked: 2 * (LINES - EXPORTED), erased: 2 * EXPORTED })
    const left = await t.kernel.db.sql`select 1 from audit_personal where subject_id = ${ADA}`
    expect(left.length).toBe(0)
  })

  test('but what is written afterwards needs an erasure of its own', async () => {
    await t.kernel.audit.record({
      action: 'audit.personal_data_erased',
      target: { type: 'user', id: BOB },
      caller: null,
      request: internalRequest('tests'),
    })
    await Bun.sleep(5)
    await writeLines(t.kernel, 1, BOB)
    await tamper((sql) => sql`delete from audit_personal where subject_id = ${BOB}`)
    const damages = found(await verify(t.kernel))
    expect(damages).toEqual([`${LINES + 2} personal data`, `${LINES + 2} personal data`])
  })

  test('a closed account is erased 30 days later', async () => {
    let delayMs: number | undefined
    await unitOfWork(t.kernel, { actor: null, request }, async (ctx) => {
      const enqueue = (_queue: unknown, _payload: unknown, options?: { delayMs?: number }) => {
        delayMs = options?.delayMs
      }
      await personalData.forget?.({ ...ctx, enqueue: enqueue as never }, ADA)
    })
    expect(delayMs).toBe(30 * 86_400_000)
  })
})

describe('checkpoints', () => {
  const folder = () => t.kernel.config.audit.checkpointDirs[0] as string
  const file = () => join(folder(), readdirSync(folder())[0] as string)

  test('that were edited are found', async () => {
    const text = readFileSync(file(), 'utf8').replace(`"position":${EXPORTED}`, '"position":5')
    writeFileSync(file(), text)
    expect(found(await verify(t.kernel))).toEqual(['5 checkpoint'])
  })

  test('that a crash has cut off are counted and no damage', async () => {
    appendFileSync(file(), '{"kind":"checkpoint","posi\n')
    const report = await verify(t.kernel)
    expect(found(report)).toEqual([])
    expect(report.unreadable).toBe(1)
  })

  test('written after a backup was made do not count for what is restored from it', async () => {
    const backupMs = systemClock.now() - 60_000
    await tamper((sql) =>
      sql.unsafe(`delete from audit_log where position > 9;
      update audit_head set position = 9, hash = (select hash from audit_log where position = 9)`),
    )
    expect(found(await verify(t.kernel))).toEqual(['10 truncated'])
    expect(found(await verify(t.kernel, backupMs))).toEqual([])
  })
})

/**
 * The control: the same chain with a hash that everybody can compute. Whoever edits a line hashes
 * the rest anew, and nothing is to be seen.
 */
test('a chain without a key hides what an owner of the database does', () => {
  const seal = (previous: Uint8Array, line: SealedLine) =>
    createHash('sha256').update(encode(previous, line)).digest()
  const chain = (lines: readonly SealedLine[]) => {
    const hashes: Buffer[] = []
    for (const line of lines) hashes.push(seal(hashes.at(-1) ?? GENESIS, line))
    return hashes
  }
  const isWhole = (lines: readonly SealedLine[], hashes: readonly Buffer[]) =>
    chain(lines).every((hash, n) => hash.equals(hashes[n] as Buffer))
  const lines = Array.from({ length: 3 }, (_, n) => ({ ...plainLine, position: `${n + 1}` }))
  const hashes = chain(lines)
  const edited = lines.with(1, { ...(lines[1] as SealedLine), action: 'tests.forged' })
  expect(isWhole(edited, hashes)).toBe(false)
  expect(isWhole(edited, chain(edited))).toBe(true)
})

const plainLine: SealedLine = {
  position: '1',
  sealed_at: '1767225600000',
  key_id: '00000000',
  id: ADA,
  at: '1767225600000',
  actor_kind: 'user',
  actor_id: ADA,
  session_id: null,
  action: lineAbout(ADA).action,
  outcome: 'success',
  target_type: null,
  target_id: null,
  transport: 'rest',
  request_id: request.id,
  before: null,
  after: null,
  subject_id: null,
  origin_digest: null,
  personal_digest: null,
}
