import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { SignedIn } from '../../src/auth/shapes.ts'
import { type TestClock, testClock } from '../../src/base/clock.ts'
import { Failure } from '../../src/base/errors.ts'
import { input, t } from '../../src/base/schema.ts'
import { features } from '../../src/features.ts'
import { type Actor, user } from '../../src/kernel/access.ts'
import { feature } from '../../src/kernel/feature.ts'
import { operation } from '../../src/kernel/operation.ts'
import { auditTrail } from '../support/audit.ts'
import { type CallError, Client } from '../support/client.ts'
import { freshCode, giveFactor } from '../support/factor.ts'
import { earnToken, restWithFactor } from '../support/mfa.ts'
import { device, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { challengeOf, enrolled, type Enrolled, type Verified } from './enrolled.ts'
import { identity, password } from './setup.ts'

/** What was paid. */
const paid: string[] = []

/** The kind of operation that step-up is for. */
const pay = operation('pay', {
  summary: 'Pay',
  rest: 'POST /pay/:target',
  access: user(),
  limit: 'write',
  input: input({
    target: t.String({ maxLength: 20 }),
    amount: t.Integer({ minimum: 1 }),
    fails: t.Optional(t.Boolean()),
  }),
  output: t.Object({ paid: t.Integer() }),
  idempotent: true,
  stepUp: (_ctx, { amount }) => amount > 1_000,
  async handler({ afterCommit }, { target, amount, fails }) {
    // So that those that come at once really overlap.
    await Bun.sleep(20)
    if (fails === true && broken) throw new Failure('unavailable', 'The bank is closed')
    afterCommit(() => void paid.push(`${target} ${amount}`))
    return { paid: amount }
  },
})
const give = operation('give', {
  summary: 'Takes what `pay` takes',
  rest: 'POST /give/:target',
  access: user(),
  limit: 'write',
  input: pay.input,
  output: t.Object({}),
  stepUp: () => true,
  handler: () => Promise.resolve({}),
})
const money = feature({ name: 'money', operations: [pay, give] })
let broken = false

describe('a challenge and its token', () => {
  let world: Awaited<ReturnType<typeof identity>>
  let clock: TestClock
  let ann: Enrolled
  beforeAll(async () => {
    clock = testClock()
    world = await identity({ clock, more: [money], env: { RATE_LIMITS: 'off' } })
    ann = await enrolled(world, 'ann')
  })
  afterAll(() => world.close())

  const call = (of: { actor: Actor }, body: object, stepUp?: string, name = 'pay', key?: string) =>
    world.call<{ paid: number }>(name, of.actor, { target: 'bob', ...body }, key, stepUp)
  const verify = (actor: Actor, challenge: string, code: string) =>
    world.call<Verified>('auth.mfa.verify', actor, { challenge, code })
  /** A token for this very call. */
  async function token(of: Enrolled, body: object, name = 'pay'): Promise<string> {
    clock.advance(30_000)
    const challenge = await challengeOf(call(of, body, undefined, name))
    return (await verify(of.actor, challenge, of.code())).step_up as string
  }

  test('below the threshold nothing is asked for', async () => {
    expect(await call(ann, { amount: 1_000 })).toEqual({ paid: 1_000 })
  })

  test('above it, the token of that very call lets it through once', async () => {
    const body = { amount: 1_001 }
    const stepUp = await token(ann, body)
    expect(await call(ann, body, stepUp)).toEqual({ paid: 1_001 })
    expect(await world.refused(call(ann, body, stepUp))).toBe('step_up_required')
  })

  test.each([
    ['the amount', { amount: 2_001 }],
    ['the target', { amount: 2_000, target: 'mallory' }],
    ['a field more', { amount: 2_000, fails: false }],
  ])('changed after the challenge, %s is another call', async (_name, changed) => {
    const stepUp = await token(ann, { amount: 2_000 })
    expect(await world.refused(call(ann, changed, stepUp))).toBe('step_up_required')
    // It is not used up by the attempt.
    await call(ann, { amount: 2_000 }, stepUp)
  })

  test('the same input, spelled differently, is the same call', async () => {
    const stepUp = await token(ann, { amount: 2_500, fails: false })
    const spelled = { fails: false, amount: 2_500, user_id: 'overwritten' }
    expect(await call(ann, spelled, stepUp)).toEqual({ paid: 2_500 })
  })

  test('a token of another operation is none', async () => {
    const stepUp = await token(ann, { amount: 3_000 }, 'give')
    expect(await world.refused(call(ann, { amount: 3_000 }, stepUp))).toBe('step_up_required')
  })

  test('a token, and a challenge, of another session of the same user is none', async () => {
    clock.advance(30_000)
    const second = await world.call<SignedIn>('auth.login', null, {
      email: ann.email,
      password,
      mfa_code: ann.code(),
    })
    const other = { ...ann, actor: world.authenticator.verify(second.token) }
    const body = { amount: 4_000 }
    const stepUp = await token(ann, body)
    expect(await world.refused(call(other, body, stepUp))).toBe('step_up_required')
    clock.advance(30_000)
    const challenge = await challengeOf(call(ann, body))
    const elsewhere = verify(other.actor, challenge, ann.code())
    expect(await world.refused(elsewhere)).toBe('validation_failed')
  })

  test('a token, and a challenge, of another user is none', async () => {
    const bob = await enrolled(world, 'bob')
    const body = { amount: 5_000 }
    const stepUp = await token(ann, body)
    expect(await world.refused(call(bob, body, stepUp))).toBe('step_up_required')
    const challenge = await challengeOf(call(ann, body))
    const theirs = verify(bob.actor, challenge, bob.code())
    expect(await world.refused(theirs)).toBe('validation_failed')
  })

  test('a token ends after five minutes, and so does a challenge', async () => {
    const body = { amount: 6_000 }
    const stepUp = await token(ann, body)
    clock.advance(5 * 60_000 - 1)
    const challenge = await challengeOf(call(ann, body))
    await call(ann, body, stepUp)
    const late = await token(ann, body)
    clock.advance(5 * 60_000)
    expect(await world.refused(call(ann, body, late))).toBe('step_up_required')
    expect(await world.refused(verify(ann.actor, challenge, ann.code()))).toBe('validation_failed')
  })

  test('of 20 at the same time with one token one goes through', async () => {
    const body = { amount: 7_000, target: 'rush' }
    const stepUp = await token(ann, body)
    const tries = await Promise.allSettled(
      Array.from({ length: 20 }, () => call(ann, body, stepUp)),
    )
    const codes = tries.map((x) => (x.status === 'fulfilled' ? 'paid' : x.reason.code))
    expect(codes.filter((code) => code === 'paid')).toHaveLength(1)
    expect(new Set(codes)).toEqual(new Set(['paid', 'step_up_required']))
    expect(paid.filter((line) => line === 'rush 7000')).toHaveLength(1)
  })

  test('control: a token that is looked at before it is used up lets several in', async () => {
    const stepUp = await token(ann, { amount: 7_500 })
    const { db } = world.kernel
    const hash = Bun.CryptoHasher.hash('sha256', stepUp)
    const naive = () =>
      db.transaction(async ({ sql }) => {
        const rows = await sql`select from step_ups where hash = ${hash}`
        if (rows.length === 0) return false
        await Bun.sleep(50)
        await sql`delete from step_ups where hash = ${hash}`
        return true
      })
    const through = await Promise.all(Array.from({ length: 5 }, naive))
    expect(through.filter(Boolean).length).toBeGreaterThan(1)
  })

  test('a call that fails gives its token back', async () => {
    const body = { amount: 8_000, fails: true }
    const stepUp = await token(ann, body)
    broken = true
    expect(await world.refused(call(ann, body, stepUp))).toBe('unavailable')
    broken = false
    expect(await call(ann, body, stepUp)).toEqual({ paid: 8_000 })
  })

  test('a repeated request gets its answer, although its token is used', async () => {
    const body = { amount: 9_000 }
    const stepUp = await token(ann, body)
    const first = await call(ann, body, stepUp, 'pay', 'pay-key')
    expect(await call(ann, body, stepUp, 'pay', 'pay-key')).toEqual(first)
    expect(await call(ann, body, undefined, 'pay', 'pay-key')).toEqual(first)
    expect(paid.filter((line) => line === 'bob 9000')).toHaveLength(1)
  })

  test('without a second factor one sets it up first', async () => {
    const plain = await world.person('plain')
    expect(await world.refused(call(plain, { amount: 1_001 }))).toBe('mfa_required')
    expect(await world.refused(call(plain, { amount: 1_001 }, 'x'.repeat(43)))).toBe('mfa_required')
  })

  test('a recovery code is a second factor, too', async () => {
    const challenge = await challengeOf(call(ann, { amount: 1_500 }))
    const { step_up } = await verify(ann.actor, challenge, ann.recoveryCodes[0] as string)
    await call(ann, { amount: 1_500 }, step_up)
  })

  test('with a wrong code there is no token', async () => {
    const challenge = await challengeOf(call(ann, { amount: 1_600 }))
    expect(await world.refused(verify(ann.actor, challenge, '000000'))).toBe('invalid_code')
  })

  test('tokens end with the second factor that has earned them', async () => {
    const eve = await enrolled(world, 'eve')
    const stepUp = await token(eve, { amount: 1_700 })
    clock.advance(30_000)
    await world.call('auth.mfa.disable', eve.actor, { code: eve.code() })
    expect(await world.refused(call(eve, { amount: 1_700 }, stepUp))).toBe('mfa_required')
  })

  test('a challenge that was changed anywhere is refused', async () => {
    const challenge = await challengeOf(call(ann, { amount: 1_800 }))
    clock.advance(30_000)
    for (let i = 0; i < challenge.length; i += 7) {
      const other = challenge[i] === 'A' ? 'B' : 'A'
      const edited = challenge.slice(0, i) + other + challenge.slice(i + 1)
      expect(await world.refused(verify(ann.actor, edited, ann.code()))).toBe('validation_failed')
    }
    for (const none of ['.', 'x', `${challenge}.x`.slice(1), challenge.split('.')[0] as string]) {
      expect(await world.refused(verify(ann.actor, none, ann.code()))).toBe('validation_failed')
    }
    // None of this has used the code up.
    await verify(ann.actor, challenge, ann.code())
  })

  test('what was earned and what was refused is in the audit log', async () => {
    const body = { amount: 1_900 }
    const before = (await auditTrail(world, 'auth.step_up')).length
    const stepUp = await token(ann, body)
    await call(ann, body, stepUp)
    await world.refused(call(ann, body, stepUp))
    const lines = (await auditTrail(world, 'auth.step_up')).slice(before)
    expect(lines.map(({ action, outcome, target_id }) => [action, outcome, target_id])).toEqual([
      ['auth.step_up_earned', 'success', 'pay'],
      ['auth.step_up_refused', 'denied', 'pay'],
    ])
    for (const line of lines) expect(JSON.stringify(line)).not.toContain(stepUp)
  })

  test('a challenge made before the master key was rotated is good after it', async () => {
    const challenge = await challengeOf(call(ann, { amount: 2_200 }))
    const keys = ['11'.repeat(32), '00'.repeat(32)].join(',')
    const rotated = await identity({
      clock,
      more: [money],
      database: world.database,
      env: { MASTER_ENCRYPTION_KEY: keys },
    })
    try {
      clock.advance(30_000)
      const answer = await rotated.call<Verified>('auth.mfa.verify', ann.actor, {
        challenge,
        code: ann.code(),
      })
      const body = { target: 'bob', amount: 2_200 }
      const stepUp = answer.step_up as string
      const outcome = await rotated.call('pay', ann.actor, body, undefined, stepUp)
      expect(outcome).toEqual({ paid: 2_200 } as never)
    } finally {
      await rotated.close()
    }
  })
})

describe('over the wire', () => {
  let server: TestServer
  let ann: Person
  beforeAll(async () => {
    server = await testServer({ features: [...features, money] })
    ann = await person(server, 'ann')
    await giveFactor(server.kernel, ann.id)
  })
  afterAll(() => server.stop())

  test('REST: 401 with the challenge, then the header', async () => {
    const body = { amount: 5_000 }
    const refused = await rest(server, 'POST', '/api/v1/pay/bob', { token: ann.token, body })
    expect([refused.status, refused.body['code']]).toEqual([401, 'step_up_required'])
    const stepUp = await earnToken(server, ann, refused.body['challenge'])
    const headers = { 'X-Step-Up': stepUp }
    const other = await rest(server, 'POST', '/api/v1/pay/mallory', {
      token: ann.token,
      body,
      headers,
    })
    expect(other.body['code']).toBe('step_up_required')
    const done = await rest(server, 'POST', '/api/v1/pay/bob', { token: ann.token, body, headers })
    expect(done.body).toEqual({ paid: 5_000 })
  })

  test('a socket: an error with the challenge, then the field of the frame', async () => {
    const client = await Client.connect(server.wsUrl, ann.token)
    try {
      const payload = { target: 'bob', amount: 6_000 }
      const refused = (await client.call('pay', payload).catch((e: unknown) => e)) as CallError
      expect(refused.payload.code).toBe('step_up_required')
      const { step_up } = await client.ask<Verified>('auth.mfa.verify', {
        challenge: (refused.payload['details'] as { challenge: string }).challenge,
        code: await freshCode(server.kernel, ann.id),
      })
      const answer = async (id: string) => {
        client.send({ type: 'pay', id, step_up, payload })
        return await client.wait((frame) => frame.id === id)
      }
      expect(await answer('p1')).toMatchObject({ type: 'ack', payload: { paid: 6_000 } })
      const again = await answer('p2')
      expect(again).toMatchObject({ type: 'error', payload: { code: 'step_up_required' } })
    } finally {
      await client.close()
    }
  })

  test('earned on a socket it is good over REST, in the same session alone', async () => {
    const body = { amount: 7_000 }
    const refused = await rest(server, 'POST', '/api/v1/pay/bob', { token: ann.token, body })
    const client = await Client.connect(server.wsUrl, ann.token)
    const { step_up } = await client.ask<Verified>('auth.mfa.verify', {
      challenge: refused.body['challenge'],
      code: await freshCode(server.kernel, ann.id),
    })
    await client.close()
    const { body: login } = await rest(server, 'POST', '/api/v1/auth/login', {
      body: {
        email: ann.email,
        password: ann.password,
        mfa_code: await freshCode(server.kernel, ann.id),
      },
    })
    const headers = { 'X-Step-Up': step_up as string }
    const options = { body, headers }
    const elsewhere = await rest(server, 'POST', '/api/v1/pay/bob', {
      ...options,
      token: login['token'],
    })
    expect(elsewhere.body['code']).toBe('step_up_required')
    const here = await rest(server, 'POST', '/api/v1/pay/bob', { ...options, token: ann.token })
    expect(here.status).toBe(200)
  })

  test('somebody without a second factor gets 403', async () => {
    const plain = await person(server, 'plain')
    const answer = await restWithFactor(server, 'POST', '/api/v1/pay/bob', {
      as: plain,
      body: { amount: 5_000 },
    })
    expect([answer.status, answer.body['code']]).toEqual([403, 'mfa_required'])
    expect((await device(server, plain)).id).toBe(plain.id)
  })

  test('the documents say which calls may need it, and how', async () => {
    const { body: api } = await rest(server, 'GET', '/api-json')
    const refs = (path: string) =>
      api['paths'][path].post.parameters.map((p: { $ref?: string }) => p.$ref)
    expect(refs('/pay/{target}')).toContain('#/components/parameters/StepUp')
    expect(refs('/auth/logout')).not.toContain('#/components/parameters/StepUp')
    expect(api['components'].parameters.StepUp).toMatchObject({ name: 'X-Step-Up', in: 'header' })
    const { body: sockets } = await rest(server, 'GET', '/asyncapi.json')
    const fields = (name: string) =>
      Object.keys(sockets['channels'].socket.messages[name].payload.properties)
    expect(fields('pay')).toContain('step_up')
    expect(fields('auth.logout')).not.toContain('step_up')
  })
})
