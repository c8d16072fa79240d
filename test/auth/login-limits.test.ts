import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { lockUser } from '../../src/auth/accounts/lock.ts'
import { makeLink } from '../../src/auth/mailbox/links.ts'
import type { SignedIn } from '../../src/auth/shapes.ts'
import { Passwords } from '../../src/auth/sign-in/passwords.ts'
import { Failure } from '../../src/base/errors.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { LIMITS } from '../../src/kernel/limits.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { auditTrail } from '../support/audit.ts'
import { until } from '../support/wait.ts'
import { failure, identity, password } from './setup.ts'

/** Guessing at passwords, and who is not kept out by somebody else's guesses. */

let world: Awaited<ReturnType<typeof identity>>
/** How many passwords were compared. */
let compared = 0
beforeAll(async () => {
  world = await identity()
  const { limiter } = world.kernel
  const { take } = limiter
  // In memory, `identity` counts addresses as well, and is tested elsewhere.
  limiter.take = (name, subject) => (name === 'identity' ? 0 : take(name, subject))
  const passwords = world.kernel.use(Passwords)
  const { verify } = passwords
  passwords.verify = (...given) => {
    compared++
    return verify(...given)
  }
})
afterAll(() => world.close())
afterEach(async () => {
  await world.kernel.db.sql`delete from security_limits`
})

const { burst } = LIMITS.login_account
let hosts = 0
/** An address that nobody else has. */
const elsewhere = () => `198.51.${++hosts >> 8}.${hosts & 255}`

async function logIn(fields: object, address = elsewhere()): Promise<SignedIn> {
  const operation = world.registry.operations.get('auth.login')
  if (operation === undefined) throw new Error('no login')
  const request = {
    id: 'r',
    transport: 'rest',
    address,
    userAgent: 'test device',
    connectionId: undefined,
  } as const
  const { output } = await world.executor.execute(operation, {
    actor: null,
    input: { password, ...fields },
    request,
  })
  return output as SignedIn
}
const outcome = (promise: Promise<unknown>) =>
  promise.then(
    () => 'ok',
    () => world.refused(promise),
  )
const guess = (login: string, address?: string) =>
  outcome(logIn({ login, password: 'a wrong password' }, address))
async function useUp(login: string) {
  for (let i = 0; i < burst; i++) expect(await guess(login)).toBe('invalid_credentials')
  expect(await guess(login)).toBe('rate_limited')
}

describe('guesses at one account', () => {
  test('are counted over all addresses, before a password is compared', async () => {
    await world.person('ada')
    await useUp('ada')
    compared = 0
    const refused = await failure(logIn({ login: 'ada' }))
    expect(refused).toMatchObject({ code: 'rate_limited', limit: 'login_account' })
    expect(refused.retryAfterMs).toBeGreaterThan(0)
    expect(compared).toBe(0)
  })

  test('are answered alike where there is no such account', async () => {
    await world.person('bea')
    const told = async (login: string) => {
      await useUp(login)
      const { code, message, limit, retryAfterMs = 0 } = await failure(logIn({ login }))
      return { code, message, limit, minutes: Math.round(retryAfterMs / 60_000) }
    }
    expect(await told('nobody')).toEqual(await told('bea'))
  })

  test('by name do not count by address: else it would show whose the address is', async () => {
    await world.person('cem')
    await useUp('cem')
    expect(await guess('cem@example.org')).toBe('invalid_credentials')
  })

  test('are counted together however the name is spelt', async () => {
    await world.person('igi')
    // As the database compares names: `İgi` is `igi` for it, and three characters for JavaScript.
    const [{ alike }] = await world.kernel.db.sql`select lower('İGİ') = 'igi' as alike`
    const spellings = ['igi', 'IGI', 'iGi', ...(alike === true ? ['İgi', 'igİ', 'İGİ'] : [])]
    const ofNobody = spellings.map((name) => name.replaceAll('g', 'o').replaceAll('G', 'O'))
    for (const names of [spellings, ofNobody]) {
      const outcomes = []
      for (let i = 0; i < burst + 6; i++) outcomes.push(await guess(names[i % names.length] ?? ''))
      expect(outcomes.slice(burst)).toEqual(Array(6).fill('rate_limited'))
    }
  })

  test('fifty at once are as many as one after the other', async () => {
    await world.person('dan')
    compared = 0
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => guess('dan')))
    expect(outcomes.filter((code) => code === 'invalid_credentials')).toHaveLength(burst)
    expect(outcomes.filter((code) => code === 'rate_limited')).toHaveLength(50 - burst)
    expect(compared).toBe(burst)
  }, 30_000)

  test('are forgotten when the password was right', async () => {
    await world.person('eva')
    for (let i = 0; i < burst - 1; i++) await guess('eva')
    expect(await outcome(logIn({ login: 'eva' }))).toBe('ok')
    for (let i = 0; i < burst; i++) expect(await guess('eva')).toBe('invalid_credentials')
  })

  test('that nobody had time to compare are none', async () => {
    await world.person('gus')
    const passwords = world.kernel.use(Passwords)
    const { verify } = passwords
    passwords.verify = () => Promise.reject(new Failure('overloaded'))
    const address = elsewhere()
    for (let i = 0; i < LIMITS.login_address.burst + 5; i++) {
      expect(await guess('gus', address)).toBe('overloaded')
    }
    passwords.verify = verify
    expect(await outcome(logIn({ login: 'gus' }, address))).toBe('ok')
  })

  test('are audited, but not one by one', async () => {
    await world.person('fay')
    await useUp('fay')
    const address = elsewhere()
    for (let i = 0; i < 20; i++) await guess('fay', address)
    const lines = await auditTrail(world, 'auth.sign_in_limited')
    const here = lines.filter(({ personal }) => personal.address === address)
    expect(here).toHaveLength(LIMITS.refusal.burst)
    expect(here[0]).toMatchObject({ outcome: 'denied', after: { limit: 'login_account' } })
  })
})

describe('a stranger cannot keep the owner out', () => {
  test('of a known device, which has a count of its own', async () => {
    const gia = await world.person('gia')
    await useUp('gia')
    // The control: without its token the owner is as any stranger.
    expect(await outcome(logIn({ login: 'gia' }))).toBe('rate_limited')
    const { device_token } = gia
    const again = await logIn({ login: 'gia', device_token })
    expect(again.user.id).toBe(gia.user.id)
    // Nor does the owner's login give the stranger new guesses.
    expect(await guess('gia')).toBe('rate_limited')
  })

  test('of a known device, also when all of its network has used up the address', async () => {
    const hal = await world.person('hal')
    const address = elsewhere()
    for (let i = 0; i < LIMITS.login_address.burst; i++) await guess(`nobody-${i}`, address)
    expect((await failure(logIn({ login: 'hal' }, address))).limit).toBe('login_address')
    const { device_token } = hal
    expect(await outcome(logIn({ login: 'hal', device_token }, address))).toBe('ok')
  }, 30_000)

  test('by a name that looks like a name and a device', async () => {
    const ian = await world.person('ian')
    const [{ id }] = await world.kernel.db.sql`
      select id from devices where user_id = ${ian.user.id}`
    const forged = [`ian","${id}`, `["ian","${id}"]`, `ian ${id}`, `ian\n${id}`]
    for (const login of forged) await useUp(login)
    expect(await outcome(logIn({ login: 'ian', device_token: ian.device_token }))).toBe('ok')
  }, 30_000)

  test('with a device token of their own, or a forged one', async () => {
    const [jan, mallory] = [await world.person('jan'), await world.person('mallory')]
    await useUp('jan')
    for (const device_token of [mallory.device_token, 'A'.repeat(43)]) {
      const refused = logIn({ login: 'jan', password: 'a wrong password', device_token })
      expect(await world.refused(refused)).toBe('rate_limited')
    }
    expect(await outcome(logIn({ login: 'jan', device_token: jan.device_token }))).toBe('ok')
  })

  test('and a stolen device token gives no more guesses than any other', async () => {
    const { device_token } = await world.person('kim')
    const outcomes = []
    for (let i = 0; i < burst + 3; i++) {
      outcomes.push(
        await outcome(logIn({ login: 'kim', password: 'a wrong password', device_token })),
      )
    }
    expect(outcomes.filter((code) => code === 'invalid_credentials')).toHaveLength(burst)
    expect(outcomes.slice(burst)).toEqual(Array(3).fill('rate_limited'))
  })

  test('nor from a new device: the link of a mail makes it known', async () => {
    const { user } = await world.person('lea')
    await useUp('lea')
    await useUp('lea@example.org')
    const who = { actor: null, request: internalRequest('t') }
    const { link } = await unitOfWork(world.kernel, who, async (ctx) => {
      await lockUser(ctx.tx.sql, user.id)
      const about = { userId: user.id, email: user.email, locale: 'en' }
      return await makeLink(ctx, 'reset_password', about)
    })
    const { device_token } = await world.call<{ device_token: string }>(
      'auth.password.reset',
      null,
      { token: link.split('#token=')[1], password: 'another long password' },
    )
    const counted = () =>
      world.kernel.db.sql`select from security_limits where name = 'login_account'`
    await until(async () => (await counted()).length === 0, 'the tries are forgotten')
    // The stranger goes on, and uses up what was given back.
    const codes = []
    while (codes.at(-1) !== 'rate_limited' && codes.length < 3 * burst) {
      codes.push(await guess('lea'))
    }
    expect(await outcome(logIn({ login: 'lea', password: 'another long password' }))).toBe(
      'rate_limited',
    )
    const login = { login: 'lea', password: 'another long password', device_token }
    expect(await outcome(logIn(login))).toBe('ok')
  }, 30_000)
})

describe('guesses from one address', () => {
  test('are counted over all accounts; those that were right are not', async () => {
    await world.person('mia')
    const address = elsewhere()
    for (let i = 0; i < LIMITS.login_address.burst - 1; i++) {
      expect(await guess(`nobody-${i}`, address)).toBe('invalid_credentials')
    }
    for (let i = 0; i < 3; i++) expect(await outcome(logIn({ login: 'mia' }, address))).toBe('ok')
    expect(await guess('mia', address)).toBe('invalid_credentials')
    expect(await outcome(logIn({ login: 'mia' }, address))).toBe('rate_limited')
    expect(await outcome(logIn({ login: 'mia' }))).toBe('ok')
  }, 30_000)

  test('of an IPv6 network are counted together', async () => {
    for (let i = 0; i < LIMITS.login_address.burst; i++) {
      expect(await guess(`nobody-${i}`, `2001:db8::${i}`)).toBe('invalid_credentials')
    }
    expect(await guess('nobody', '2001:db8::ffff:1')).toBe('rate_limited')
    expect(await guess('nobody', '2001:db8:0:1::1')).toBe('invalid_credentials')
  }, 30_000)
})

describe('registering', () => {
  test('is limited by address, before the password is hashed', async () => {
    const operation = world.registry.operations.get('auth.register')
    if (operation === undefined) throw new Error('no register')
    const address = elsewhere()
    const register = (n: number) =>
      Promise.resolve(
        world.executor.execute(operation, {
          actor: null,
          input: { email: `crowd-${n}@example.org`, password },
          request: { ...internalRequest('r'), transport: 'rest', address },
        }),
      )
    const outcomes = []
    for (let i = 0; i < LIMITS.register_address.burst + 2; i++) {
      outcomes.push(await outcome(register(i)))
    }
    expect(outcomes.filter((code) => code === 'ok')).toHaveLength(LIMITS.register_address.burst)
    expect(outcomes.slice(-2)).toEqual(['rate_limited', 'rate_limited'])
  }, 30_000)
})

describe('when guesses cannot be counted', () => {
  test('nobody gets in, also with the right password', async () => {
    await world.person('nia')
    const owner = new Bun.SQL({ url: world.database.ownerUrl, max: 1 })
    await owner`alter table security_limits rename to gone`
    try {
      compared = 0
      expect(await outcome(logIn({ login: 'nia' }))).toBe('unavailable')
      expect(compared).toBe(0)
    } finally {
      await owner`alter table gone rename to security_limits`
      await owner.close()
    }
    expect(await outcome(logIn({ login: 'nia' }))).toBe('ok')
  })
})
