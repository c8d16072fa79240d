import { createHmac } from 'node:crypto'
import type { SQL } from 'bun'
import { Failure } from '../../base/errors.ts'
import { type Kernel, service } from '../../kernel/kernel.ts'

/**
 * Passwords: Argon2id (RFC 9106) for everybody; bcrypt hashes of older systems are believed until
 * their owner signs in, and then replaced. Hashing takes 0.1 s of a core on purpose, so few run at
 * once and the line before them is short.
 */
export interface Passwords {
  /** @throws Failure `overloaded` when too many are waiting */
  hash(password: string): Promise<string>
  /**
   * Compares. With no hash (nobody of that name, or an account without password) a hash that
   * fits nothing is compared, so that both take the same time.
   * @param name what somebody who is not signed in calls themself, in lower case; see
   *   `createStandIns`
   * @throws Failure `overloaded` when too many are waiting
   */
  verify(password: string, hash: string | null, name?: string): Promise<Verdict>
}

/** `outdated`: right, but the hash is one of an older system and should be replaced. */
export type Verdict = 'wrong' | 'right' | 'outdated'

export const PASSWORD_LENGTH_MIN = 8
export const PASSWORD_LENGTH_MAX = 200

/** What a hash costs. */
export interface PasswordCost {
  readonly memoryKiB: number
  readonly passes: number
  /** The hash of a random password that nobody has kept; it costs what the others cost. */
  readonly unmatched: string
}

/**
 * OWASP Password Storage Cheat Sheet: m=19456 KiB, t=2, p=1. A service only so that tests which are
 * not about passwords need not wait for them.
 */
export const PasswordCost = service<PasswordCost>('password cost', () => ({
  memoryKiB: 19_456,
  passes: 2,
  unmatched:
    '$argon2id$v=19$m=19456,t=2,p=1$br9uhYtZODLikFHwtWogHC784sV/vFk6Vk6nhZscruQ$' +
    'tTnwGn8aMMIfDQNqBSXIQLZtTT9HAi27nF0NwUta6LQ',
}))

const BCRYPT = /^\$2[aby]\$/
/** Salt and hash, without their cost, of another random password that nobody has kept. */
const UNMATCHED_BCRYPT = 'b0zFZnOjm6b1g4jtiHPWdu9ugrcDzC63YlZUNwcObg/Y3j28DDENa'
/** What bcrypt reads; the runtime would hash longer ones first, which the old systems did not. */
const BCRYPT_BYTES_MAX = 72

/** Each takes a core for 0.1 s and 19 MiB. */
const RUNNING_MAX = 2
/** Three seconds of waiting; longer, and the client has given up before its turn comes. */
const WAITING_MAX = 64

/** The passwords of a server. */
export const Passwords = service<Passwords>('passwords', (kernel) => {
  const inTurn = createLine()
  const { memoryKiB: memoryCost, passes: timeCost, unmatched: noMatch } = kernel.use(PasswordCost)
  const standIn = createStandIns(kernel, noMatch)
  const cost = { algorithm: 'argon2id', memoryCost, timeCost } as const
  return {
    hash: (password) => inTurn(() => Bun.password.hash(password, cost)),
    async verify(password, hash, name) {
      const unmatched = name === undefined ? noMatch : await standIn(name)
      const known = hash ?? unmatched
      const legacy = BCRYPT.test(known)
      const offered = legacy
        ? new TextEncoder().encode(password).subarray(0, BCRYPT_BYTES_MAX)
        : password
      const right = await inTurn(() => Bun.password.verify(offered, known))
      if (!right) return 'wrong'
      return legacy ? 'outdated' : 'right'
    },
  }
})

/** Runs tasks in order of arrival, few at once. */
function createLine(): <T>(task: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let running = 0
  return async (task) => {
    if (running >= RUNNING_MAX) {
      if (waiting.length >= WAITING_MAX) {
        throw new Failure('overloaded', 'Too many people are signing in', { retryAfterMs: 3_000 })
      }
      // Whoever finishes hands over their place, so that nobody slips in between.
      await new Promise<void>((resolve) => waiting.push(resolve))
    } else {
      running++
    }
    try {
      return await task()
    } finally {
      const next = waiting.shift()
      if (next === undefined) running--
      else next()
    }
  }
}

const SHARES_KEPT_MS = 3_600_000

/** How many of the accounts have a bcrypt hash of this cost (two digits). */
interface Share {
  readonly cost: string
  readonly share: number
}

/**
 * What is compared for a name that nobody has. bcrypt takes another time than Argon2id, so that,
 * were it always the latter, whoever has a hash of an older system would be known by the time. So
 * as large a share of the names of nobody gets a bcrypt hash as of the accounts; which, is random,
 * and the same at each try.
 */
function createStandIns(
  { db, clock, config }: Kernel,
  noMatch: string,
): (name: string) => Promise<string> {
  let shares: { readonly of: Promise<Share[]>; readonly untilMs: number } | undefined
  return async (name) => {
    if (shares === undefined || clock.monotonicMs() >= shares.untilMs) {
      shares = { of: db.read(readShares), untilMs: clock.monotonicMs() + SHARES_KEPT_MS }
      shares.of.catch(() => (shares = undefined))
    }
    const known = await shares.of
    if (known.length === 0) return noMatch
    const mac = createHmac('sha256', config.masterKeys[0] as Uint8Array)
    const place = mac.update(`rialto stand-in\n${name}`).digest().readUIntBE(0, 6) / 2 ** 48
    return standInAt(known, place) ?? noMatch
  }
}

/** The hash of an older system at a place in [0, 1) among all accounts; those come first. */
function standInAt(shares: readonly Share[], place: number): string | undefined {
  let end = 0
  for (const { cost, share } of shares) {
    end += share
    if (place < end) return `$2b$${cost}$${UNMATCHED_BCRYPT}`
  }
  return undefined
}

async function readShares(sql: SQL): Promise<Share[]> {
  const legacy = (await sql`
    select substr(password_hash, 5, 2) as cost, count(*)::int as accounts from users
    where password_hash like '$2%' group by 1 order by 1`) as { cost: string; accounts: number }[]
  if (legacy.length === 0) return []
  const [all] = await sql`
    select count(*)::int as accounts from users where password_hash is not null`
  return legacy.map(({ cost, accounts }) => ({ cost, share: accounts / all.accounts }))
}
