import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { lockUser } from '../../src/auth/accounts/lock.ts'
import { makeLink } from '../../src/auth/mailbox/links.ts'
import { input, t } from '../../src/base/schema.ts'
import { features } from '../../src/features.ts'
import { anyone } from '../../src/kernel/access.ts'
import { feature } from '../../src/kernel/feature.ts'
import { operation } from '../../src/kernel/operation.ts'
import { chance } from '../support/budget.ts'
import { type MailServer, mailServer } from '../support/mail.ts'
import { type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'

/**
 * Whether somebody has an account here must not show, neither in an answer nor in the time that it
 * takes. Times are compared by rank (Mann and Whitney 1947), which does not mind a busy machine;
 * the controls show that the test would see what a hasty implementation gives away.
 */

/** How sure the controls must be, and how sure nothing else may be: |z|, in standard deviations. */
const SEEN = 4

/** Mann-Whitney U as a standard normal variable: 0 when neither sample tends to be larger. */
function rankDifference(a: readonly number[], b: readonly number[]): number {
  const ranked = [
    ...a.map((value) => ({ value, a: true })),
    ...b.map((value) => ({ value, a: false })),
  ].toSorted((x, y) => x.value - y.value)
  const rankSum = ranked.reduce((sum, one, i) => (one.a ? sum + i + 1 : sum), 0)
  const u = rankSum - (a.length * (a.length + 1)) / 2
  const mean = (a.length * b.length) / 2
  return (u - mean) / Math.sqrt((a.length * b.length * (a.length + b.length + 1)) / 12)
}

/** The control: what somebody might write in a hurry. */
const hastyForgot = operation('hasty.forgot', {
  summary: 'Looks the address up before it answers',
  rest: 'POST /hasty/forgot',
  access: anyone(),
  limit: 'identity',
  input: input({ email: t.String() }),
  output: t.Object({ accepted: t.Literal(true) }),
  async handler(ctx, { email }) {
    const [known] = (await ctx.tx.sql`
      select id from users where lower(email) = lower(${email}::text)`) as { id: string }[]
    const user = known === undefined ? undefined : await lockUser(ctx.tx.sql, known.id)
    if (user !== undefined) {
      await makeLink(ctx, 'reset_password', { userId: user.id, email, locale: 'en' })
    }
    return { accepted: true } as const
  },
})

let mail: MailServer
let server: TestServer
let asker: Person
const known: string[] = []
beforeAll(async () => {
  mail = await mailServer()
  server = await testServer({
    env: mail.env,
    // Times are compared here.
    parts: [],
    features: [...features, feature({ name: 'hasty', operations: [hastyForgot] })],
  })
  asker = await person(server, 'asker')
  for (let i = 0; i < 20; i++) known.push((await person(server, 'known')).email)
})
afterAll(async () => {
  await server.stop()
  await mail.close()
})

let strangers = 0
const stranger = () => `known-${++strangers}-0@example.org`

interface Answer {
  readonly status: number
  readonly body: unknown
}

/**
 * Asks about people and strangers in random order, one after the other.
 * @returns how different the times are, and every answer once
 */
async function compare(
  ask: (email: string) => Promise<Answer>,
  each: number,
): Promise<{ z: number; answers: string[] }> {
  const luck = chance('enumeration')
  const times: { known: number[]; unknown: number[] } = { known: [], unknown: [] }
  const answers = new Set<string>()
  for (let i = 0; i < 10; i++) await ask(i % 2 === 0 ? luck.pick(known) : stranger())
  while (times.known.length < each || times.unknown.length < each) {
    const who = luck.below(2) === 0 ? 'known' : 'unknown'
    if (times[who].length >= each) continue
    const email = who === 'known' ? luck.pick(known) : stranger()
    const startMs = performance.now()
    const { status, body } = await ask(email)
    times[who].push(performance.now() - startMs)
    const { request_id: _id, instance: _instance, ...said } = body as Record<string, unknown>
    answers.add(JSON.stringify({ status, said }))
  }
  const z = Math.abs(rankDifference(times.known, times.unknown))
  console.log(`enumeration: |z| = ${z.toFixed(2)}`)
  return { z, answers: [...answers] }
}

const post = (path: string, body: object, token?: string) =>
  rest(server, 'POST', `/api/v1${path}`, { body, ...(token === undefined ? {} : { token }) })

describe('people and strangers get the same answer in the same time', () => {
  test('who ask for a new password', async () => {
    const { z, answers } = await compare((email) => post('/auth/password/forgot', { email }), 150)
    expect(answers).toHaveLength(1)
    expect(z).toBeLessThan(SEEN)
  }, 60_000)

  test('whose address somebody else wants', async () => {
    const change = (email: string) =>
      post('/auth/email/change', { email, password: asker.password }, asker.token)
    const { z, answers } = await compare(change, 30)
    expect(answers).toHaveLength(1)
    expect(z).toBeLessThan(SEEN)
  }, 60_000)

  test('who sign in with a wrong password', async () => {
    const login = (email: string) => post('/auth/login', { email, password: 'a wrong password' })
    const { z, answers } = await compare(login, 40)
    expect(answers).toHaveLength(1)
    expect(z).toBeLessThan(SEEN)
  }, 60_000)
})

describe('the controls', () => {
  test('an address that is looked up before the answer is seen by its time', async () => {
    const { z, answers } = await compare((email) => post('/hasty/forgot', { email }), 150)
    expect(answers).toHaveLength(1)
    expect(z).toBeGreaterThan(SEEN)
  }, 60_000)

  test('equal samples are equal, a shift of half a deviation is seen', () => {
    const luck = chance('enumeration control')
    const sample = (shift: number) => Array.from({ length: 400 }, () => luck.next() + shift)
    expect(Math.abs(rankDifference(sample(0), sample(0)))).toBeLessThan(SEEN)
    expect(Math.abs(rankDifference(sample(0), sample(0.15)))).toBeGreaterThan(SEEN)
  })
})
