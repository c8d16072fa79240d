import { Failure } from '../kernel/errors.ts'
import { service } from '../kernel/kernel.ts'

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
   * @throws Failure `overloaded` when too many are waiting
   */
  verify(password: string, hash: string | null): Promise<Verdict>
}

/** `outdated`: right, but the hash is one of an older system and should be replaced. */
export type Verdict = 'wrong' | 'right' | 'outdated'

export const PASSWORD_LENGTH_MIN = 8
export const PASSWORD_LENGTH_MAX = 200

/** OWASP Password Storage Cheat Sheet: m=19456 KiB, t=2, p=1. */
const ARGON2ID = { algorithm: 'argon2id', memoryCost: 19_456, timeCost: 2 } as const
/** The hash of a random password that nobody has kept; it costs what the real ones cost. */
const UNMATCHED =
  '$argon2id$v=19$m=19456,t=2,p=1$br9uhYtZODLikFHwtWogHC784sV/vFk6Vk6nhZscruQ$' +
  'tTnwGn8aMMIfDQNqBSXIQLZtTT9HAi27nF0NwUta6LQ'

const BCRYPT = /^\$2[aby]\$/
/** What bcrypt reads; the runtime would hash longer ones first, which the old systems did not. */
const BCRYPT_BYTES_MAX = 72

/** Each takes a core for 0.1 s and 19 MiB. */
const RUNNING_MAX = 2
/** Three seconds of waiting; longer, and the client has given up before its turn comes. */
const WAITING_MAX = 64

/** The passwords of a server. */
export const Passwords = service<Passwords>('passwords', () => {
  const inTurn = createLine()
  return {
    hash: (password) => inTurn(() => Bun.password.hash(password, ARGON2ID)),
    async verify(password, hash) {
      const known = hash ?? UNMATCHED
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
