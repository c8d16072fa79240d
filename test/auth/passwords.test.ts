import { afterAll, afterEach, beforeAll, describe, expect, spyOn, test } from 'bun:test'
import { Passwords } from '../../src/auth/sign-in/passwords.ts'
import type { Kernel, Service } from '../../src/kernel/kernel.ts'
import { median } from '../support/wait.ts'
import { failure, identity } from './setup.ts'

const passwords = () =>
  Passwords.create({ use: <T>(wanted: Service<T>) => wanted.create({} as Kernel) } as Kernel)

const spies: { mockRestore(): void }[] = []
afterEach(() => {
  for (const spy of spies.splice(0)) spy.mockRestore()
})

test('hashes are Argon2id with the costs that OWASP asks for, salted', async () => {
  const own = passwords()
  const [a, b] = await Promise.all([own.hash('same'), own.hash('same')])
  expect(a).toStartWith('$argon2id$v=19$m=19456,t=2,p=1$')
  expect(b).not.toBe(a)
  expect(await own.verify('same', a)).toBe('right')
  expect(await own.verify('Same', a)).toBe('wrong')
  expect(await own.verify('', a)).toBe('wrong')
})

test('nobody of that name costs what a wrong password costs: one hash, alike', async () => {
  const own = passwords()
  const known = await own.hash('a password')
  const verify = spyOn(Bun.password, 'verify').mockClear()
  spies.push(verify)
  expect(await own.verify('another', known)).toBe('wrong')
  expect(await own.verify('another', null)).toBe('wrong')
  const hashes = verify.mock.calls.map(([, hash]) => hash as string)
  expect(hashes).toHaveLength(2)
  for (const hash of hashes) {
    expect(hash).toStartWith('$argon2id$v=19$m=19456,t=2,p=1$')
    expect(hash).toHaveLength(known.length)
  }
})

test('long passwords count to their end, and bytes are not folded', async () => {
  const own = passwords()
  const long = 'x'.repeat(199)
  const hash = await own.hash(`${long}a`)
  expect(await own.verify(`${long}b`, hash)).toBe('wrong')
  const composed = await own.hash('caf\u00e9 au lait')
  expect(await own.verify('cafe\u0301 au lait', composed)).toBe('wrong')
})

test('bcrypt hashes of older systems are right and outdated, under all their names', async () => {
  const own = passwords()
  const hash = await Bun.password.hash('an old password', { algorithm: 'bcrypt', cost: 4 })
  for (const prefix of ['$2a$', '$2b$', '$2y$']) {
    expect(await own.verify('an old password', prefix + hash.slice(4))).toBe('outdated')
    expect(await own.verify('another', prefix + hash.slice(4))).toBe('wrong')
  }
})

test('bcrypt compares 72 bytes, as the systems did that made those hashes', async () => {
  const own = passwords()
  const first72 = 'é'.repeat(36)
  const hash = await Bun.password.hash(first72, { algorithm: 'bcrypt', cost: 4 })
  expect(await own.verify(`${first72} and more`, hash)).toBe('outdated')
  expect(await own.verify('é'.repeat(35), hash)).toBe('wrong')
})

test('two at once, in order, and beyond the line an overload that may be retried', async () => {
  const own = passwords()
  const finish: ((hash: string) => void)[] = []
  const started: string[] = []
  const hash = spyOn(Bun.password, 'hash').mockImplementation((password) => {
    started.push(password as string)
    return new Promise((resolve) => finish.push(resolve))
  })
  spies.push(hash)
  const calls = Array.from({ length: 66 }, (_, i) => own.hash(`p${i}`))
  expect(started).toEqual(['p0', 'p1'])

  const refused = await failure(own.hash('one too many'))
  expect(refused).toMatchObject({ code: 'overloaded', retryable: true, retryAfterMs: 3_000 })

  for (let i = 0; i < 66; i++) {
    expect(started.length - i).toBeLessThanOrEqual(2)
    finish[i]?.(`h${i}`)
    expect(await calls[i]).toBe(`h${i}`)
    await Promise.resolve()
  }
  expect(started).toEqual(Array.from({ length: 66 }, (_, i) => `p${i}`))

  const later = ['q0', 'q1', 'q2', 'q3'].map((password) => own.hash(password))
  expect(started.slice(66)).toEqual(['q0', 'q1'])
  for (let i = 66; i < 70; i++) {
    finish[i]?.('h')
    await later[i - 66]
  }
})

test('a hash that fails gives its place back', async () => {
  const own = passwords()
  for (let i = 0; i < 3; i++) {
    const error = await own.verify('x', 'no hash at all').catch((reason: Error) => reason)
    expect(error).toBeInstanceOf(Error)
  }
  expect(await own.verify('x', null)).toBe('wrong')
})

describe('what a name of nobody is compared with', () => {
  let world: Awaited<ReturnType<typeof identity>>
  beforeAll(async () => {
    world = await identity({ parts: [] })
  })
  afterAll(() => world.close())

  /** The kinds of hashes that logins of names nobody has are compared with. */
  async function kinds(own: Passwords, names: readonly string[]): Promise<string[]> {
    const verify = spyOn(Bun.password, 'verify').mockResolvedValue(false)
    try {
      for (const name of names) await own.verify('a guess', null, name)
      return verify.mock.calls.map(([, hash]) => (hash as string).slice(0, 7))
    } finally {
      verify.mockRestore()
    }
  }
  const names = Array.from({ length: 400 }, (_, i) => `nobody-${i}@example.org`)

  test('is Argon2id where all accounts have that', async () => {
    await world.person('modern')
    const found = await kinds(Passwords.create(world.kernel), names)
    expect(new Set(found)).toEqual(new Set(['$argon2']))
  })

  test('is of an older system as often as accounts are, and the same at every try', async () => {
    const { sql } = world.kernel.db
    const old = await Bun.password.hash('old', { algorithm: 'bcrypt', cost: 4 })
    for (let i = 0; i < 3; i++) {
      const { user } = await world.person(`legacy-${i}`)
      await sql`update users set password_hash = ${old} where id = ${user.id}`
    }
    // Three of four.
    const own = Passwords.create(world.kernel)
    const found = await kinds(own, names)
    const older = found.filter((kind) => kind === '$2b$04$').length / names.length
    expect(older).toBeGreaterThan(0.6)
    expect(older).toBeLessThan(0.9)
    expect(await kinds(own, names)).toEqual(found)
    // The hash is a real one, that fits nothing.
    const [name] = names.filter((_, i) => found[i] === '$2b$04$')
    expect(await own.verify('old', null, name)).toBe('wrong')
  })

  test('takes as long as what accounts have, so that time does not tell who has one', async () => {
    const own = Passwords.create(world.kernel)
    const { sql } = world.kernel.db
    // bcrypt of cost 6 takes a tenth of what Argon2id does: far enough apart on a busy machine.
    const old = await Bun.password.hash('old', { algorithm: 'bcrypt', cost: 6 })
    await sql`update users set password_hash = ${old} where password_hash like '$2%'`
    const found = await kinds(own, names)
    const stranger = names[found.indexOf('$2b$06$')]
    const time = async (hash: string | null, name?: string) => {
      const startMs = performance.now()
      await own.verify('a guess', hash, name)
      return performance.now() - startMs
    }
    const times: [known: number, unknown: number, naive: number][] = []
    for (let i = 0; i < 15; i++) {
      times.push([await time(old, 'legacy-0'), await time(null, stranger), await time(null)])
    }
    const [known, unknown, naive] = [0, 1, 2].map((i) => median(times.map((row) => row[i] ?? 0)))
    const apart = (a = 0, b = 0) => Math.max(a, b) / Math.min(a, b)
    expect(apart(known, unknown)).toBeLessThan(2)
    // The control: with the one stand-in that there was, accounts of older systems stood out.
    expect(apart(known, naive)).toBeGreaterThan(2)
  })
})
